//! A proxy that passes on everything but one frame, to which it does something. Without TLS; where a test speaks it, this stands behind
//! what speaks it.

use bennu_bench::frame;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

/// What the proxy does to one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    Lose,
    Double,
    SwapWithNext,
    /// Replaces the first byte pattern by the second, which is as long.
    Alter(&'static str, &'static str),
    /// Closes TCP.
    Cut,
}

/// A proxy that spoils the frame at `position` (the join's reply is 0) of the third connection from the server to the client.
pub(super) fn proxy(server: SocketAddr, position: usize, fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
            let upstream = TcpStream::connect(server).unwrap();
            let (mut from_client, mut to_server) =
                (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_server);
                let _ = to_server.shutdown(Shutdown::Write);
            });
            let position = if number == 2 { position } else { usize::MAX };
            std::thread::spawn(move || spoil(upstream, &client, position, fault));
        }
    });
    address
}

fn spoil(mut server: TcpStream, mut client: &TcpStream, position: usize, fault: Fault) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    let (mut is_open, mut frames, mut held) = (false, 0, Vec::new());
    while let Ok(received @ 1..) = server.read(&mut chunk) {
        bytes.extend_from_slice(&chunk[..received]);
        if !is_open {
            let Some(end) = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                continue;
            };
            client.write_all(&bytes[..end + 4]).unwrap();
            bytes.drain(..end + 4);
            is_open = true;
        }
        while let Some(size) = frame::parse(&bytes).unwrap().map(|frame| frame.size) {
            let mut frame: Vec<u8> = bytes.drain(..size).collect();
            if frames == position {
                match fault {
                    Fault::Lose => frame.clear(),
                    Fault::Double => frame.extend_from_within(..),
                    Fault::SwapWithNext => held = std::mem::take(&mut frame),
                    Fault::Alter(from, to) => {
                        let at = frame
                            .windows(from.len())
                            .position(|bytes| bytes == from.as_bytes())
                            .unwrap();
                        frame.splice(at..at + from.len(), to.bytes());
                    }
                    Fault::Cut => {
                        let _ = client.shutdown(Shutdown::Both);
                        return;
                    }
                }
            } else {
                frame.append(&mut held);
            }
            frames += 1;
            if client.write_all(&frame).is_err() {
                return;
            }
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}
