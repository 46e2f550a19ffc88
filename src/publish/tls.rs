//! Which certificates of brokers are trusted.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::plan::PublishError;

/// What a TLS connection begins with: those of the file are trusted, else the system's.
///
/// # Errors
/// When they cannot be read, or there are none.
pub fn config(ca: Option<&Path>) -> Result<ClientConfig, PublishError> {
    let refused = |path: &dyn std::fmt::Display, problem: &dyn std::fmt::Display| PublishError::Certificates {
        path: path.to_string(),
        problem: problem.to_string(),
    };
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        let shown = path.display();
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| refused(&shown, &error))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| refused(&shown, &error))?;
            roots.add(certificate).map_err(|error| refused(&shown, &error))?;
        }
    } else {
        // Some of them may be too old to be read.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        let path = ca.map_or_else(|| "(the system's)".to_owned(), |path| path.display().to_string());
        return Err(refused(&path, &"no certificate in it"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| refused(&"(TLS)", &error))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}
