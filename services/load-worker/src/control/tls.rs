//! rustls configurations towards targets.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use plan::model::{Http, Target, TlsVersion};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// The files that a target's `tls` table names, where they are now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TlsFiles<'a> {
    /// What to trust instead of the system's certificates.
    pub(super) ca: Option<&'a Path>,
    /// Our certificate chain and key.
    pub(super) client: Option<(&'a Path, &'a Path)>,
}

/// A configuration, or what is wrong: message and mend. It keeps no sessions: a load thread has its own.
pub(super) fn client_config(
    target: &Target,
    files: TlsFiles<'_>,
) -> Result<Arc<ClientConfig>, (String, String)> {
    let Target { name, tls, http, .. } = target;
    let provider = Arc::new(ring::default_provider());
    let versions: Vec<_> = [(TlsVersion::One2, &TLS12), (TlsVersion::One3, &TLS13)]
        .into_iter()
        .filter_map(|(version, known)| tls.allows(version).then_some(known))
        .collect();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|e| {
            (format!("target {name}: TLS cannot be set up: {e}"), "report this as a bug".to_owned())
        })?;
    let builder = if tls.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAnything(provider)))
    } else {
        builder.with_root_certificates(roots(name, files.ca)?)
    };
    let mut config = match files.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key_problem = |e: String| {
                let mend = "give a PEM file with an unencrypted private key (PKCS#8, PKCS#1 or SEC1)";
                (format!("target {name}: the client key cannot be used: {e}"), mend.to_owned())
            };
            let chain = certificates(certificate).map_err(|e| {
                let mend = "give a PEM file with your certificate first, then its issuers";
                (format!("target {name}: the client certificate cannot be used: {e}"), mend.to_owned())
            })?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| key_problem(e.to_string()))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| key_problem(e.to_string()))?
        }
    };
    let protocol: &[u8] = if *http == Http::One { b"http/1.1" } else { b"h2" };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

fn roots(target: &str, ca: Option<&Path>) -> Result<RootCertStore, (String, String)> {
    let mut store = RootCertStore::empty();
    let Some(ca) = ca else {
        let system = system_roots();
        if system.is_empty() {
            return Err((
                format!("target {target}: this system has no certificates to trust"),
                "install ca-certificates, or set `tls.ca` of the target".to_owned(),
            ));
        }
        return Ok(system.clone());
    };
    let mend = || "give a PEM file with the certificates of the authorities to trust".to_owned();
    let problem = |e: String| (format!("target {target}: its `tls.ca` cannot be used: {e}"), mend());
    for certificate in certificates(ca).map_err(problem)? {
        store.add(certificate).map_err(|e| problem(e.to_string()))?;
    }
    Ok(store)
}

/// Read once a process: it costs milliseconds.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        store
    })
}

/// All certificates of a PEM file; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let iter = CertificateDer::pem_file_iter(path).map_err(|e| e.to_string())?;
    let all: Vec<_> = iter.collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    if all.is_empty() { Err("it has no certificate in PEM form".to_owned()) } else { Ok(all) }
}

/// For `tls.insecure`: the peer's identity is not verified; that it has the key of what it shows still is.
#[derive(Debug)]
struct TrustAnything(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn target(keys: &str) -> Target {
        let text = format!("[targets.web]\nurl = \"https://web\"\n{keys}\n[[scenarios]]\nguest = \"http\"\n");
        plan::parse(&text, Path::new("plan.toml")).unwrap().targets.remove(0)
    }

    const INSECURE: &str = "tls = { insecure = true }";

    fn message(keys: &str, files: TlsFiles<'_>) -> String {
        let (message, mend) = client_config(&target(keys), files).unwrap_err();
        format!("{message}; {mend}")
    }

    #[test]
    fn each_way_to_trust_makes_a_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        fs::write(&cert, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let trusting = TlsFiles { ca: Some(&cert), client: None };
        let config = client_config(&target(""), trusting).unwrap();
        assert!(!config.client_auth_cert_resolver.has_certs());
        assert_eq!(config.alpn_protocols, [b"http/1.1"]);
        assert_eq!(client_config(&target("http = \"2\""), trusting).unwrap().alpn_protocols, [b"h2"]);
        let client = Some((cert.as_path(), key.as_path()));
        let config = client_config(&target(INSECURE), TlsFiles { ca: None, client }).unwrap();
        assert!(config.client_auth_cert_resolver.has_certs());
    }

    #[test]
    fn files_that_are_no_certificates_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, text) = (dir.path().join("cert.pem"), dir.path().join("text.pem"));
        fs::write(&cert, made.cert.pem()).unwrap();
        fs::write(&text, "no PEM at all").unwrap();
        let no_ca = message("", TlsFiles { ca: Some(&text), client: None });
        assert!(
            no_ca.starts_with("target web: its `tls.ca` cannot be used: it has no certificate"),
            "{no_ca}"
        );
        let client = Some((text.as_path(), text.as_path()));
        let no_cert = message(INSECURE, TlsFiles { ca: None, client });
        assert!(no_cert.starts_with("target web: the client certificate cannot be used"), "{no_cert}");
        let client = Some((cert.as_path(), cert.as_path()));
        let no_key = message(INSECURE, TlsFiles { ca: None, client });
        assert!(no_key.starts_with("target web: the client key cannot be used"), "{no_key}");
    }
}
