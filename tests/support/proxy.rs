//! A proxy before a service on loopback that can spoil answers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the proxy does to the answer of a download.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spoil {
    /// 503, and the connection is closed.
    Busy,
    /// The connection breaks after half of the body.
    BreakOff,
    /// The connection is closed without an answer.
    HangUp,
}

/// Passes requests on to the server and spoils some downloads, or some removals.
pub struct Proxy {
    port: u16,
    state: Arc<Mutex<Orders>>,
    downloads: Arc<AtomicUsize>,
    removals: Arc<AtomicUsize>,
}

struct Orders {
    spoil: Spoil,
    good: usize,
    bad: usize,
    /// Removals are spoilt, instead of downloads.
    removals: bool,
}

impl Proxy {
    /// A proxy before a service on a port of loopback that spoils nothing yet.
    pub fn before(behind: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let orders = Orders { spoil: Spoil::Busy, good: 0, bad: 0, removals: false };
        let state = Arc::new(Mutex::new(orders));
        let (downloads, removals) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (orders, counters) = (Arc::clone(&state), [Arc::clone(&downloads), Arc::clone(&removals)]);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (orders, counters) = (Arc::clone(&orders), counters.clone());
                thread::spawn(move || pass_on(client, behind, &orders, &counters));
            }
        });
        Self { port, state, downloads, removals }
    }

    /// Lets `good` downloads pass and spoils the `bad` ones after them.
    pub fn spoil(&self, spoil: Spoil, good: usize, bad: usize) {
        *self.state.lock().unwrap() = Orders { spoil, good, bad, removals: false };
    }

    /// Lets `good` removals pass and spoils the `bad` ones after them.
    pub fn spoil_removals(&self, spoil: Spoil, good: usize, bad: usize) {
        *self.state.lock().unwrap() = Orders { spoil, good, bad, removals: true };
    }

    /// Requests to remove one object or many so far.
    pub fn removals(&self) -> usize {
        self.removals.load(Ordering::Relaxed)
    }

    /// Downloads asked for so far.
    pub fn downloads(&self) -> usize {
        self.downloads.load(Ordering::Relaxed)
    }

    /// The port to ask instead of the service's own.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// One request and its answer: the server is told to close the connection after it.
fn pass_on(mut client: TcpStream, behind: u16, orders: &Mutex<Orders>, counters: &[Arc<AtomicUsize>; 2]) {
    let Some((head, rest)) = read_head(&mut client) else { return };
    let line = head.lines().next().unwrap_or_default();
    let is_removal =
        ["?delete", "comp=batch"].iter().any(|batch| line.contains(batch)) || line.starts_with("DELETE ");
    let is_download = line.starts_with("GET ") && !line.contains('?');
    let spoil = if is_download || is_removal {
        counters[usize::from(is_removal)].fetch_add(1, Ordering::Relaxed);
        let mut orders = orders.lock().unwrap();
        if orders.removals == is_removal { next_order(&mut orders) } else { None }
    } else {
        None
    };
    match spoil {
        Some(Spoil::HangUp) => return,
        Some(Spoil::Busy) => {
            let _ =
                client.write_all(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return;
        }
        Some(Spoil::BreakOff) | None => {}
    }
    let mut server = TcpStream::connect(("127.0.0.1", behind)).unwrap();
    let request = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(request.as_bytes()).unwrap();
    server.write_all(&rest).unwrap();
    let (mut upstream, mut body) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || std::io::copy(&mut body, &mut upstream));
    let mut answer = Vec::new();
    let _ = server.read_to_end(&mut answer);
    let given = if spoil.is_some() { answer.len() / 2 } else { answer.len() };
    let _ = client.write_all(&answer[..given]);
    let _ = client.shutdown(Shutdown::Both);
}

fn next_order(orders: &mut Orders) -> Option<Spoil> {
    if orders.good > 0 {
        orders.good -= 1;
        return None;
    }
    if orders.bad == 0 {
        return None;
    }
    orders.bad -= 1;
    Some(orders.spoil)
}

/// The head of a request, and what came of its body with it.
fn read_head(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = client.read(&mut piece).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Some((String::from_utf8(bytes).ok()?, rest));
        }
    }
}
