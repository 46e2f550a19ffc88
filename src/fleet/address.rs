//! Where a fleet is, as `--fleet` names it.

use std::str::FromStr;

use crate::publish::{Target, TargetError};

/// What a fleet is called where nobody says.
const NAME: &str = "streamdet";

/// A server and a fleet on it: `nats://HOST:PORT[/NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The server.
    pub server: Target,
    /// The fleet's name.
    pub name: String,
}

/// Why it names no fleet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No server.
    #[error(transparent)]
    Server(#[from] TargetError),
    /// Another broker's.
    #[error("a fleet is on a NATS server: give nats://HOST:PORT or nats://HOST:PORT/NAME, with TLS natss://")]
    Protocol,
    /// Several names.
    #[error("a fleet has one name, as nats://HOST:PORT/site: letters, digits, - and _")]
    Name,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let mut server = Target::on_nats(text)?.ok_or(AddressError::Protocol)?;
        let name = server.prefix.take().unwrap_or_else(|| NAME.to_owned());
        if name.contains('/') {
            return Err(AddressError::Name);
        }
        Ok(Self { server, name })
    }
}

/// With user and password gone.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.server, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_one_fleet() {
        let shown = |text: &str| text.parse::<Address>().map(|address| address.to_string());
        assert_eq!(shown("nats://me:secret@h").as_deref(), Ok("nats://h:4222/streamdet"));
        assert_eq!(shown("natss://h:1/site").as_deref(), Ok("natss://h:1/site"));
        assert_eq!(shown("nats://h/a/b"), Err(AddressError::Name));
        assert_eq!(shown("mqtt://h"), Err(AddressError::Protocol));
        assert_eq!(shown("site"), Err(AddressError::Protocol));
    }
}
