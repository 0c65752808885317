# In place of `postgres:…-bookworm` where no registry is reached: Debian's PostgreSQL, with the official image's user,
# paths, variables and modes.
ARG BASE
FROM ${BASE}
COPY root/ /
COPY entrypoint.sh /usr/local/bin/docker-entrypoint.sh
ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV PGDATA=/var/lib/postgresql/data
RUN groupadd --gid 999 postgres \
 && useradd --uid 999 --gid 999 --no-create-home --home-dir /var/lib/postgresql --shell /bin/sh postgres \
 && install --directory --owner 999 --group 999 --mode 1777 "$PGDATA" \
 && install --directory --owner 999 --group 999 --mode 3777 /var/run/postgresql
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
