//! Who may vouch for the server.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::StoreError;

/// TLS by the authorities in the file `ca`, else by the system's, which are not read unless TLS is `wanted`.
pub(super) fn connector(ca: Option<&Path>, wanted: bool) -> Result<MakeRustlsConnect, StoreError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            let invalid = |detail: String| StoreError::Options {
                option: "the PostgreSQL server's certificate authority",
                detail: format!("{}: {detail}", file.display()),
            };
            let certificates =
                CertificateDer::pem_file_iter(file).map_err(|error| invalid(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
                roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(invalid("it holds no certificate, expected at least one in PEM".to_owned()));
            }
        }
        None if wanted => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        None => {}
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Options { option: "TLS", detail: error.to_string() })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
