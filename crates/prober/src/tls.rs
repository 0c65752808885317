//! TLS towards targets, as the plan says it.

use std::path::Path;
use std::sync::Arc;

use plan::model::{Tls, TlsVersion};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// How https URLs of a target are reached.
#[derive(Clone, Debug)]
pub enum Connector {
    /// With this configuration, and under this name instead of the URL's host.
    Ready(Arc<ClientConfig>, Option<String>),
    /// Not at all: the certificates of the plan cannot be used.
    Broken(String),
}

/// Reads the certificates that the plan names, relative to `base_dir`. The system's own are read only without a `ca`.
///
/// # Errors
/// What is wrong with which file.
pub fn connector(tls: &Tls, base_dir: &Path) -> Result<Connector, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: Vec<_> = [(TlsVersion::One2, &TLS12), (TlsVersion::One3, &TLS13)]
        .into_iter()
        .filter_map(|(version, known)| tls.allows(version).then_some(known))
        .collect();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| error.to_string())?;
    let builder = if tls.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(roots(tls.ca.as_deref(), base_dir)?)
    };
    let mut config = match &tls.client {
        Some((certificate, key)) => {
            let path = base_dir.join(key);
            let key = PrivateKeyDer::from_pem_file(&path)
                .map_err(|error| format!("{}: {error}: expected a PEM private key", path.display()))?;
            builder
                .with_client_auth_cert(certificates(&base_dir.join(certificate))?, key)
                .map_err(|error| format!("client certificate: {error}"))?
        }
        None => builder.with_no_client_auth(),
    };
    if !tls.resumption {
        config.resumption = Resumption::disabled();
    }
    Ok(Connector::Ready(Arc::new(config), tls.server_name.clone()))
}

fn roots(ca: Option<&Path>, base_dir: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(ca) = ca else {
        // Certificates of the system that cannot be read are left out, as everywhere.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let path = base_dir.join(ca);
    for certificate in certificates(&path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{}: {error}: expected PEM certificates", path.display()))
}

/// Takes any certificate, because the plan says `insecure`; signatures are still verified.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
