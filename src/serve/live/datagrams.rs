//! A UDP socket that sends and takes several datagrams a system call, where the kernel can (UDP GSO and GRO, Linux 4.18 and 5.0).

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use str0m::net::Transmit;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Bytes of datagrams that are sent together, at most, and room for those that are taken together: a UDP datagram has not more.
const TOGETHER: usize = 65_000;
pub(super) const ROOM: usize = 1 << 16;

/// A socket.
pub(super) struct Datagrams {
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    joined: Vec<u8>,
}

/// Datagrams of one sender, one behind the other, each of `each` bytes but for the last.
pub(super) struct Received {
    pub source: SocketAddr,
    pub length: usize,
    pub each: usize,
}

impl Datagrams {
    /// Listens at an address, or at another port of it where that is taken.
    ///
    /// # Errors
    /// When there is no socket.
    pub fn bind(listen: SocketAddr) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(listen)
            .or_else(|_| std::net::UdpSocket::bind(SocketAddr::new(listen.ip(), 0)))?;
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let socket = UdpSocket::from_std(socket)?;
        let local = socket.local_addr()?;
        Ok(Self { socket, state, local, joined: Vec::with_capacity(TOGETHER) })
    }

    /// Where it listens.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Waits for datagrams, of [`ROOM`] bytes at most.
    ///
    /// # Errors
    /// What the system says.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let take = || {
            let mut about = [RecvMeta::default()];
            self.state.recv(UdpSockRef::from(&self.socket), &mut [IoSliceMut::new(buffer)], &mut about)?;
            let [RecvMeta { addr, len, stride, .. }] = about;
            // Of a socket for both, IPv4 addresses come as IPv6's.
            let source = SocketAddr::new(addr.ip().to_canonical(), addr.port());
            Ok(Received { source, length: len, each: stride.max(1) })
        };
        self.socket.async_io(Interest::READABLE, take).await
    }

    /// Sends what there is. UDP waits for the network card, never for a viewer; what cannot be sent is dropped, and asked for again.
    pub async fn send(&mut self, out: &mut Vec<Transmit>) {
        let mut left = &out[..];
        while let Some(first) = left.first() {
            let count = together(left, self.state.max_gso_segments());
            let (now, rest) = left.split_at(count);
            left = rest;
            self.joined.clear();
            let contents = match now {
                [one] => &one.contents[..],
                several => {
                    for datagram in several {
                        self.joined.extend_from_slice(&datagram.contents);
                    }
                    &self.joined
                }
            };
            let destination = match first.destination {
                SocketAddr::V4(to) if self.local.is_ipv6() => {
                    SocketAddr::new(to.ip().to_ipv6_mapped().into(), to.port())
                }
                to => to,
            };
            let segment_size = (count > 1).then_some(first.contents.len());
            let transmit = quinn_udp::Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
            let put = || self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
            if let Err(error) = self.socket.async_io(Interest::WRITABLE, put).await {
                tracing::trace!(%error, count, "datagrams are dropped");
            }
        }
        out.clear();
    }
}

/// How many of the first datagrams can be sent together: to one place, of one size, but for the last, which may be shorter.
fn together(datagrams: &[Transmit], most: usize) -> usize {
    let Some(first) = datagrams.first() else { return 0 };
    let size = first.contents.len();
    let most = most.min(TOGETHER / size.max(1)).max(1);
    let of_one_place = datagrams.iter().take(most).take_while(|next| next.destination == first.destination);
    let mut count = 0;
    for next in of_one_place {
        match next.contents.len() {
            same if same == size => count += 1,
            shorter if shorter < size => return count + 1,
            _ => break,
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use str0m::net::Protocol;

    use super::*;

    fn datagram(to: SocketAddr, length: usize) -> Transmit {
        let contents: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).expect("small")).collect();
        Transmit { proto: Protocol::Udp, source: to, destination: to, contents: contents.into() }
    }

    #[test]
    fn what_goes_to_one_place_goes_together() {
        let [a, b] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let of = |sizes: &[(SocketAddr, usize)], most| {
            let all: Vec<Transmit> = sizes.iter().map(|(to, length)| datagram(*to, *length)).collect();
            together(&all, most)
        };
        assert_eq!(of(&[], 64), 0);
        assert_eq!(of(&[(a, 100), (a, 100), (a, 40), (a, 100)], 64), 3, "the shorter one is the last");
        assert_eq!(of(&[(a, 100), (a, 200)], 64), 1);
        assert_eq!(of(&[(a, 100), (b, 100)], 64), 1);
        assert_eq!(of(&[(a, 100); 5], 3), 3);
        assert_eq!(of(&[(a, 30_000); 5], 64), 2);
        assert_eq!(of(&[(a, 100); 5], 1), 1, "a kernel without it");
    }

    #[tokio::test]
    async fn datagrams_arrive_as_they_were() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut sender = Datagrams::bind(any).expect("a socket");
        let receiver = Datagrams::bind(any).expect("a socket");
        let plain = std::net::UdpSocket::bind(any).expect("a socket");
        plain.set_read_timeout(Some(Duration::from_mins(1))).expect("a timeout");
        let sizes = [1200, 1200, 1200, 77, 300, 1200];
        let to = plain.local_addr().expect("an address");
        let mut out: Vec<Transmit> = sizes.iter().map(|length| datagram(to, *length)).collect();
        out.extend(sizes.iter().map(|length| datagram(receiver.local(), *length)));
        let expected: Vec<Vec<u8>> = out[..sizes.len()].iter().map(|datagram| datagram.contents.to_vec()).collect();
        sender.send(&mut out).await;
        assert!(out.is_empty());
        let mut buffer = vec![0; ROOM];
        for expected in &expected {
            let length = plain.recv(&mut buffer).expect("a datagram");
            assert_eq!(&buffer[..length], expected);
        }
        let mut taken = Vec::new();
        while taken.len() < expected.len() {
            let Received { source, length, each } = receiver.receive(&mut buffer).await.expect("datagrams");
            assert_eq!(source, sender.local());
            taken.extend(buffer[..length].chunks(each).map(<[u8]>::to_vec));
        }
        assert_eq!(taken, expected);
    }
}
