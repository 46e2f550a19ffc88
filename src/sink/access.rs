//! Who may watch what is served, and the certificate that the server shows.

use std::path::{Path, PathBuf};

use gstreamer_rtsp_server as rtsp_server;
use rtsp_server::gst_rtsp::RTSPAuthMethod;
use rtsp_server::prelude::*;
use rtsp_server::{RTSPAuth, RTSPToken, gio};
use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::admission::ROLE;
use super::error::{OutputError, SinkError};
use crate::secrets::Credentials;

/// Who may watch a server's streams, and how they are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Whoever has this name and password; without, everybody.
    pub credentials: Option<Credentials>,
    /// Over TLS, with this certificate.
    pub tls: Option<TlsFiles>,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that signed it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Access {
    /// What the server asks by; `None` where it asks for nothing.
    ///
    /// # Errors
    /// When there is no such certificate or key, or the two do not belong together.
    pub(super) fn auth(&self) -> Result<Option<RTSPAuth>, SinkError> {
        if *self == Self::default() {
            return Ok(None);
        }
        let auth = RTSPAuth::new();
        let mut token = RTSPToken::builder().field("media.factory.role", ROLE).build();
        auth.set_realm(Some("streamdet"));
        auth.set_supported_methods(RTSPAuthMethod::Digest);
        match &self.credentials {
            Some(Credentials { user, password }) => auth.add_digest(user.expose(), password.expose(), &token),
            None => auth.set_default_token(Some(&mut token)),
        }
        if let Some(files) = &self.tls {
            auth.set_tls_certificate(Some(&files.load()?));
        }
        Ok(Some(auth))
    }
}

/// What each file is to hold.
const CERTIFICATE: &str = "give a PEM file with the server's certificate, followed by those that signed it";
const KEY: &str = "give a PEM file with the certificate's private key, without a passphrase";

impl TlsFiles {
    /// Checks that both can be used, and belong together.
    ///
    /// # Errors
    /// When one cannot be read, or is not that of the other.
    pub fn check(&self) -> Result<(), SinkError> {
        self.load().map(drop)
    }

    fn load(&self) -> Result<gio::TlsCertificate, SinkError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|e| refused("--tls-cert", &self.certificate, pem(e), CERTIFICATE))?;
        if chain.is_empty() {
            return Err(refused("--tls-cert", &self.certificate, nothing("certificate"), CERTIFICATE));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|e| refused("--tls-key", &self.key, pem(e), KEY))?;
        match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
            Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
                let problem = OutputError::Failed(format!("not the key of {}", self.certificate.display()));
                return Err(refused("--tls-key", &self.key, problem, KEY));
            }
            Err(e) => return Err(refused("--tls-key", &self.key, OutputError::Failed(e.to_string()), KEY)),
            Ok(_) => {}
        }
        gio::TlsCertificate::from_files(&self.certificate, &self.key).map_err(|e| {
            refused("--tls-cert", &self.certificate, OutputError::Failed(e.message().to_owned()), CERTIFICATE)
        })
    }
}

fn refused(option: &'static str, path: &Path, source: OutputError, remedy: &'static str) -> SinkError {
    SinkError::Tls { option, path: path.to_owned(), source, remedy }
}

fn nothing(what: &str) -> OutputError {
    OutputError::Failed(format!("holds no {what} in PEM"))
}

fn pem(error: PemError) -> OutputError {
    match error {
        PemError::Io(error) => error.into(),
        PemError::NoItemsFound => nothing("private key"),
        error => OutputError::Failed(error.to_string()),
    }
}
