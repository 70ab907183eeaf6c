//! systemd: sockets that it has opened for the program, and telling it how the program is. Linux only
//! in its effect; elsewhere there are no sockets, and nobody is told.

use std::io;

use listenfd::ListenFd;

use super::listener::Listener;

/// Takes the listening sockets that systemd, or another supervisor with its protocol (`LISTEN_FDS`,
/// `LISTEN_PID`), has opened for this process: TCP and Unix sockets, in their order. None if there are
/// none, or if they were taken before. Call it within a runtime and early in `main`: it takes the two
/// variables out of the environment, and no thread may be reading that through C at the same time.
///
/// # Errors
/// When one of them is no listening stream socket of these kinds.
pub fn listeners() -> io::Result<Vec<Listener>> {
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
            listeners.push(Listener::try_from(listener)?);
        } else if let Some(listener) = passed.take_unix_listener(index)? {
            listeners.push(Listener::try_from(listener)?);
        }
    }
    Ok(listeners)
}

/// Tells systemd that the program serves (`READY=1`). [`Server`](super::Server) does so itself once it
/// takes connections. Without `NOTIFY_SOCKET` in the environment it does nothing; what goes
/// wrong is logged.
pub fn notify_ready() {
    notify("READY=1");
}

/// Tells systemd that the program is about to end (`STOPPING=1`), as [`notify_ready`] does.
/// [`Server`](super::Server) does so itself when its shutdown begins.
pub fn notify_stopping() {
    notify("STOPPING=1");
}

fn notify(state: &str) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&address, state) {
        tracing::warn!(%error, "systemd was not told {state}");
    }
}

#[cfg(target_os = "linux")]
fn send(address: &std::ffi::OsStr, state: &str) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn send(_: &std::ffi::OsStr, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    #[test]
    fn a_state_reaches_a_path_and_an_abstract_name() {
        let folder = std::env::temp_dir().join(format!("bennu-notify-{}", std::process::id()));
        let name = format!("bennu-notify-{}", std::process::id());
        let by_path = UnixDatagram::bind(&folder).unwrap();
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&abstract_name).unwrap();
        super::send(folder.as_os_str(), "READY=1").unwrap();
        super::send(format!("@{name}").as_ref(), "STOPPING=1").unwrap();
        std::fs::remove_file(&folder).unwrap();
        let mut buffer = [0; 32];
        let bytes = by_path.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..bytes], b"READY=1");
        let bytes = by_name.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..bytes], b"STOPPING=1");
    }
}
