//! A real nginx on free loopback ports, whose access log is the truth that our counts are held against.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use test_servers::ports;

use crate::wait;

/// A running nginx; ends with the value.
pub struct Nginx {
    child: Child,
    dir: PathBuf,
    /// Port of plain HTTP.
    pub http: u16,
    /// Port of HTTPS, with the certificate in `ca.pem`; HTTP/1.1 or HTTP/2, as the client wants.
    pub https: u16,
    /// Port of HTTP/2 without TLS, which speaks nothing else.
    pub h2c: u16,
}

impl Nginx {
    /// Starts it in `dir`, answering 200 with a few bytes to everything.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    pub fn start(dir: &Path) -> Self {
        let program =
            std::env::var_os("GAUNTLET_TEST_NGINX").map_or_else(|| PathBuf::from("nginx"), PathBuf::from);
        let dir = dir.join("nginx");
        std::fs::create_dir_all(dir.join("tmp")).expect("nginx's directory");
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
            .expect("a certificate");
        std::fs::write(dir.join("ca.pem"), certified.cert.pem()).expect("write the certificate");
        std::fs::write(dir.join("key.pem"), certified.signing_key.serialize_pem()).expect("write the key");
        let (http, https, h2c) = (ports::free(), ports::free(), ports::free());
        let conf = dir.join("nginx.conf");
        let mut file = std::fs::File::create(&conf).expect("nginx.conf");
        write!(file, "{}", configuration(&dir, http, https, h2c)).expect("write nginx.conf");
        let child = Command::new(program)
            .arg("-e")
            .arg(dir.join("error.log"))
            .arg("-p")
            .arg(&dir)
            .arg("-c")
            .arg(&conf)
            .stdin(Stdio::null())
            .spawn()
            .expect("start nginx; `cargo xtask test` fetches it");
        wait::until(
            "nginx to listen",
            Duration::from_secs(10),
            || std::net::TcpStream::connect(("127.0.0.1", http)).ok(),
            || std::fs::read_to_string(dir.join("error.log")).unwrap_or_default(),
        );
        Self { child, dir, http, https, h2c }
    }

    /// The certificate that HTTPS presents.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Lines of the access log that are not probes.
    ///
    /// # Panics
    /// When the log cannot be read.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test may panic")]
    pub fn lines(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.dir.join("access.log")).expect("nginx's access log");
        log.lines().filter(|line| !line.contains("gauntlet-probe/")).map(str::to_owned).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        crate::signal(&self.child, rustix::process::Signal::TERM);
        // It ends within moments; what it says then is of no use to the test.
        let _ = self.child.wait();
    }
}

fn configuration(dir: &Path, http: u16, https: u16, h2c: u16) -> String {
    let dir = dir.display();
    format!(
        "daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    log_format counted '$status $server_protocol $request_method $request_uri \"$http_user_agent\" $http_x_gauntlet_arrival';
    access_log {dir}/access.log counted;
    client_body_temp_path {dir}/tmp/body;
    proxy_temp_path {dir}/tmp/proxy;
    fastcgi_temp_path {dir}/tmp/fastcgi;
    uwsgi_temp_path {dir}/tmp/uwsgi;
    scgi_temp_path {dir}/tmp/scgi;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{http};
        listen 127.0.0.1:{https} ssl http2;
        listen 127.0.0.1:{h2c} http2;
        ssl_certificate {dir}/ca.pem;
        ssl_certificate_key {dir}/key.pem;
        location / {{ return 200 'ok\\n'; }}
    }}
}}
"
    )
}
