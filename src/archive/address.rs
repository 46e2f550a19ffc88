//! Where a queue is, as `streamdet work` names it.

use std::str::FromStr;

use crate::publish::{Target, TargetError};

/// A server and a queue on it: `nats://HOST:PORT/QUEUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The server.
    pub server: Target,
    /// The queue's name.
    pub queue: String,
}

/// Why it names no queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No server.
    #[error(transparent)]
    Server(#[from] TargetError),
    /// Another broker's.
    #[error("a queue is on a NATS server: give nats://HOST:PORT/QUEUE or natss://HOST:PORT/QUEUE")]
    Protocol,
    /// A server without a queue, or several names.
    #[error("give the queue a name, as nats://HOST:PORT/archive: letters, digits, - and _")]
    Name,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let mut server = Target::on_nats(text)?.ok_or(AddressError::Protocol)?;
        let queue = server.prefix.take().filter(|name| !name.contains('/')).ok_or(AddressError::Name)?;
        Ok(Self { server, queue })
    }
}

/// With user and password gone.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.server, self.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_one_queue() {
        let address: Address = "nats://me:secret@h/archive".parse().expect("a queue");
        assert_eq!(address.to_string(), "nats://h:4222/archive");
        assert!(!format!("{address:?}").contains("secret"));
        for (text, problem) in [
            ("nats://h", AddressError::Name),
            ("nats://h/a/b", AddressError::Name),
            ("mqtt://h/a", AddressError::Protocol),
            ("archive", AddressError::Protocol),
        ] {
            assert_eq!(text.parse::<Address>(), Err(problem), "{text}");
        }
    }
}
