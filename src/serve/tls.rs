//! Encryption, by a certificate and a key in PEM files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::error::ServeError;

/// What a server shows who it is by.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Its certificate, and those that vouch for it, PEM.
    pub cert: PathBuf,
    /// The certificate's key, PEM.
    pub key: PathBuf,
}

/// A certificate with its key, as read.
pub struct Certificate(TlsAcceptor);

impl Tls {
    /// Reads both.
    ///
    /// # Errors
    /// When one cannot be read, or they do not belong together.
    pub fn read(&self) -> Result<Certificate, ServeError> {
        let refused = |option: &'static str, path: &Path, problem: String| {
            let path = path.to_owned();
            ServeError::Tls { option, path, problem }
        };
        let certificates = CertificateDer::pem_file_iter(&self.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = certificates.map_err(|e| refused("--tls-cert", &self.cert, e.to_string()))?;
        if certificates.is_empty() {
            return Err(refused("--tls-cert", &self.cert, "there is no certificate in it".into()));
        }
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|e| refused("--tls-key", &self.key, e.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key));
        let mut config = config.map_err(|e| refused("--tls-key", &self.key, e.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Certificate(TlsAcceptor::from(Arc::new(config))))
    }
}

/// The certificate that a server shows new connections.
#[derive(Clone)]
pub struct SharedCertificate(Arc<RwLock<TlsAcceptor>>);

impl SharedCertificate {
    /// This one, at first.
    #[must_use]
    pub fn new(Certificate(acceptor): Certificate) -> Self {
        Self(Arc::new(RwLock::new(acceptor)))
    }

    /// This one from now on.
    pub fn renew(&self, Certificate(acceptor): Certificate) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
