//! All WebRTC sessions: one task, one UDP socket. It sleeps until a frame, a datagram or a deadline comes.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use str0m::net::Transmit;
use str0m::rtp::Extension;
use str0m::{RtcConfig, crypto};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::datagrams::{Datagrams, ROOM, Received};
use super::session::{Refusal, Session};
use crate::clock::instant;
use crate::secrets::random;
use crate::sink::Hub;
use crate::text::hex;

/// Orders that wait for the task, which takes them between two frames.
const ORDERS: usize = 16;

/// Opens and closes sessions.
pub(super) struct Sessions {
    orders: mpsc::Sender<Order>,
    config: RtcConfig,
    /// Where viewers send to; the address may be that of all interfaces.
    local: SocketAddr,
}

enum Order {
    Open(Box<Session>),
    Close(String, oneshot::Sender<bool>),
}

impl Sessions {
    /// Has a task of the current runtime carry them; it ends when this is dropped.
    ///
    /// # Errors
    /// When there is no socket.
    pub fn start(listen: SocketAddr) -> io::Result<Self> {
        // One port to open in a firewall, where it is free.
        let datagrams = Datagrams::bind(listen)?;
        let local = datagrams.local();
        let (orders, coming) = mpsc::channel(ORDERS);
        let provider = Arc::new(crypto::from_feature_flags());
        // Made once: an RSA or EC key a session would cost more than the session.
        let certificate = provider.dtls_provider.generate_certificate();
        let certificate = certificate.ok_or_else(|| io::Error::other("no certificate can be made"))?;
        let config = RtcConfig::new()
            .set_crypto_provider(provider)
            .set_dtls_cert(certificate)
            // Viewers come to it; it looks for nobody.
            .set_ice_lite(true)
            // Viewers are not asked when each packet came: the encoder is not theirs to slow down, and those reports cost as much as sending.
            .clear_extension_map()
            .set_extension(4, Extension::RtpMid)
            .clear_codecs()
            .enable_h264(true);
        tokio::spawn(run(datagrams, coming));
        Ok(Self { orders, config, local })
    }

    /// Opens a session for the offer of a viewer whose request came in at `received_at`; its id, and the answer.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn open(
        &self,
        hub: &Hub,
        offer: &str,
        received_at: Option<IpAddr>,
        place: OwnedSemaphorePermit,
    ) -> Result<(String, String), Refusal> {
        let own = self.local.ip();
        let address = match received_at {
            Some(address) if own.is_unspecified() => address.to_canonical(),
            _ if own.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            _ => own,
        };
        let local = SocketAddr::new(address, self.local.port());
        let id = new_id();
        let (session, answer) = Session::accept((id.clone(), offer), hub, self.config.clone(), local, place)?;
        self.orders.send(Order::Open(Box::new(session))).await.map_err(|_| Refusal::Closing)?;
        Ok((id, answer))
    }

    /// Closes a session; whether there was one.
    pub async fn close(&self, id: String) -> bool {
        let (reply, closed) = oneshot::channel();
        self.orders.send(Order::Close(id, reply)).await.is_ok() && closed.await.unwrap_or_default()
    }
}

/// 128 bits that nobody guesses.
fn new_id() -> String {
    hex(&random::<16>())
}

/// Carries sessions until nobody can open one any more.
async fn run(mut datagrams: Datagrams, mut orders: mpsc::Receiver<Order>) {
    let mut sessions: Vec<Box<Session>> = Vec::new();
    let mut buffer = vec![0; ROOM];
    let mut out = Vec::new();
    loop {
        let due = sessions.iter().map(|session| session.due()).min();
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Open(session)) => sessions.push(session),
                Some(Order::Close(id, reply)) => {
                    let session = sessions.iter_mut().find(|session| session.id == id);
                    let found = session.map(|session| session.end(&mut out)).is_some();
                    // Who asked may have gone.
                    let _ = reply.send(found);
                }
                None => {
                    for session in &mut sessions {
                        session.end(&mut out);
                    }
                    return datagrams.send(&mut out).await;
                }
            },
            received = datagrams.receive(&mut buffer) => if let Ok(Received { source, length, each }) = received {
                let now = instant();
                for datagram in buffer[..length].chunks(each) {
                    // Whom it is for, each session knows; one that is nobody's is dropped.
                    let _ = sessions.iter_mut().any(|session| session.datagram(now, source, datagram, &mut out));
                }
            },
            () = poll_fn(|context| frames(&mut sessions, context, &mut out)) => {}
            () = wait => {
                let now = instant();
                sessions.iter_mut().filter(|session| session.due() <= now).for_each(|session| session.tick(now, &mut out));
            }
        }
        datagrams.send(&mut out).await;
        let now = instant();
        sessions.retain(|session| session.goes_on(now));
    }
}

/// One frame for each session that has one.
fn frames(sessions: &mut [Box<Session>], context: &mut Context<'_>, out: &mut Vec<Transmit>) -> Poll<()> {
    let sent = sessions.iter_mut().filter_map(|session| session.frame(context, out).then_some(())).count();
    if sent > 0 { Poll::Ready(()) } else { Poll::Pending }
}
