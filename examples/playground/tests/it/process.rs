//! The playground as a process: sockets that it is given, certificates that change, and its end.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

const PLAYGROUND: &str = env!("CARGO_BIN_EXE_playground");

/// A playground that runs, ended with the test.
struct Process(Child);

impl Process {
    fn start(mut command: Command) -> Self {
        Self(
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        )
    }

    /// What it says once it listens.
    fn announced(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.0.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, signal).unwrap();
    }

    /// Reads the log until a line has this in it.
    fn log_until(&mut self, part: &str) -> String {
        let stderr = self.0.stderr.as_mut().unwrap();
        let mut lines = BufReader::new(stderr).lines();
        lines
            .find_map(|line| line.ok().filter(|line| line.contains(part)))
            .unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("bennu-playground-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_socket_of_systemd_is_served_and_systemd_is_told() {
    let folder = Folder::new("systemd");
    let told = UnixDatagram::bind(folder.0.join("notify")).unwrap();
    told.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    // The socket arrives as standard input and is moved to where systemd would have put it; `exec`
    // keeps the process id.
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            r#"exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0""#,
            PLAYGROUND,
        ])
        .env("NOTIFY_SOCKET", folder.0.join("notify"))
        .stdin(OwnedFd::from(listener));
    let mut process = Process::start(command);
    assert_eq!(
        process.announced(),
        format!("listening on http://{address}")
    );
    let mut state = [0; 32];
    let mut next = || {
        let bytes = told.recv(&mut state).unwrap();
        String::from_utf8(state[..bytes].to_vec()).unwrap()
    };
    assert_eq!(next(), "READY=1");
    assert!(get(address, "/healthz").starts_with("HTTP/1.1 200"));
    process.signal(Signal::TERM);
    assert_eq!(next(), "STOPPING=1");
    assert_eq!(process.0.wait().unwrap().code(), Some(0));
}

#[test]
fn certificates_are_read_anew_on_sighup() {
    let folder = Folder::new("tls");
    let (certificate, key) = (folder.0.join("cert.pem"), folder.0.join("key.pem"));
    let certify = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    };
    certify();
    let mut command = Command::new(PLAYGROUND);
    command.args(["--listen", "127.0.0.1:0", "--tls-cert"]);
    command.arg(&certificate).arg("--tls-key").arg(&key);
    let mut process = Process::start(command);
    let line = process.announced();
    assert!(
        line.starts_with("listening on https://127.0.0.1:"),
        "{line}"
    );
    certify();
    process.signal(Signal::HUP);
    process.log_until("certificates were read anew");
    fs::write(&key, "no key").unwrap();
    process.signal(Signal::HUP);
    let line = process.log_until("the certificates stay as they are");
    assert!(line.contains("key.pem: holds no private key"), "{line}");
    process.signal(Signal::TERM);
    assert_eq!(process.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_certificate_without_its_key_is_refused_at_the_start() {
    let mut command = Command::new(PLAYGROUND);
    command.args(["--tls-cert", "cert.pem"]);
    let mut process = Process::start(command);
    assert_eq!(process.0.wait().unwrap().code(), Some(2));
}
