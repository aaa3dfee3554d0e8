//! A name server that lies, over UDP and TCP, on a port of its own.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// What the server says to a question.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Those of these addresses that are of the kind asked for.
    Addresses(Vec<IpAddr>),
    /// Another name, and of that these addresses.
    Alias(String, Vec<IpAddr>),
    /// Bytes that are no answer.
    Garbage(Vec<u8>),
    /// The addresses, but with another question's number and name.
    Misplaced(Vec<IpAddr>),
    /// Nothing.
    Silence,
}

type Say = dyn Fn(&str, usize) -> Answer + Send + Sync;

/// A running one; gone when dropped.
pub struct NameServer {
    /// Where it is asked.
    pub address: SocketAddr,
    asked: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl NameServer {
    /// Starts one on an address. `say` is given the name, lower-case and without
    /// the root dot, and how many questions there were before.
    pub async fn start(at: IpAddr, say: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let tcp = TcpListener::bind((at, 0)).await.expect("a port");
        let address = tcp.local_addr().expect("an address");
        let udp = UdpSocket::bind(address).await.expect("the same port for UDP");
        let asked = Arc::new(AtomicUsize::new(0));
        let say: Arc<Say> = Arc::new(say);
        let mut tasks = JoinSet::new();
        tasks.spawn(over_udp(udp, say.clone(), asked.clone()));
        tasks.spawn(over_tcp(tcp, say, asked.clone()));
        Self { address, asked, _tasks: tasks }
    }

    /// How many questions there were.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn over_udp(socket: UdpSocket, say: Arc<Say>, asked: Arc<AtomicUsize>) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let Some(mut reply) = reply(&buffer[..length], &say, &asked) else { continue };
        if reply.len() > 1200 {
            // Only the head: the question again, and that there is more over TCP.
            reply = truncated(&buffer[..length]);
        }
        drop(socket.send_to(&reply, from).await);
    }
}

async fn over_tcp(listener: TcpListener, say: Arc<Say>, asked: Arc<AtomicUsize>) {
    let mut calls = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        calls.spawn(one_call(stream, say.clone(), asked.clone()));
    }
}

async fn one_call(mut stream: TcpStream, say: Arc<Say>, asked: Arc<AtomicUsize>) {
    while let Ok(length) = stream.read_u16().await {
        let mut question = vec![0; usize::from(length)];
        if stream.read_exact(&mut question).await.is_err() {
            return;
        }
        let Some(reply) = reply(&question, &say, &asked) else { continue };
        let length = u16::try_from(reply.len()).expect("an answer of at most 64 KiB");
        if stream.write_all(&[&length.to_be_bytes(), &reply[..]].concat()).await.is_err() {
            return;
        }
    }
}

fn reply(question: &[u8], say: &Arc<Say>, asked: &AtomicUsize) -> Option<Vec<u8>> {
    let before = asked.fetch_add(1, Ordering::SeqCst);
    let mut message = Message::from_vec(question).ok()?.into_response();
    message.metadata.recursion_available = true;
    let query = message.queries.first()?.clone();
    let name = query.name().to_ascii().to_lowercase();
    let records = |owner: &Name, addresses: Vec<IpAddr>| -> Vec<Record> {
        addresses
            .into_iter()
            .filter(|address| address.is_ipv4() == (query.query_type() == RecordType::A))
            .map(|address| match address {
                IpAddr::V4(address) => RData::A(A(address)),
                IpAddr::V6(address) => RData::AAAA(AAAA(address)),
            })
            .map(|data| Record::from_rdata(owner.clone(), 0, data))
            .collect()
    };
    match say(name.trim_end_matches('.'), before) {
        Answer::Addresses(addresses) => message.insert_answers(records(query.name(), addresses)),
        Answer::Alias(alias, addresses) => {
            let alias = Name::from_str(&format!("{alias}.")).expect("a name");
            let first = Record::from_rdata(query.name().clone(), 0, RData::CNAME(CNAME(alias.clone())));
            message.insert_answers([vec![first], records(&alias, addresses)].concat());
        }
        Answer::Garbage(bytes) => return Some(bytes),
        Answer::Misplaced(addresses) => {
            message.metadata.id = message.metadata.id.wrapping_add(1);
            message.insert_answers(records(&Name::from_str("elsewhere.example.").expect("a name"), addresses));
        }
        Answer::Silence => return None,
    }
    Some(message.to_vec().expect("an answer"))
}

fn truncated(question: &[u8]) -> Vec<u8> {
    let mut message = Message::from_vec(question).expect("it was read before").into_response();
    message.metadata.truncation = true;
    message.to_vec().expect("an answer")
}
