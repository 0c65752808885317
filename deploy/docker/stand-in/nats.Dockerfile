# In place of `nats:…-alpine` where no registry is reached: the same server, and a wget for the health check.
ARG BASE
FROM ${BASE}
COPY nats-server /usr/local/bin/nats-server
RUN ln --symbolic /bin/busybox /usr/local/bin/wget
ENTRYPOINT ["nats-server"]
