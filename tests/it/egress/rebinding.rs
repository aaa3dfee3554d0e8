//! Name servers that say one thing to the judge and another to the dialer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tributary::egress::{DialError, Dialer, Policy};

use super::{dialer, name_server_address};
use crate::support::names::{Answer, NameServer};

const ROUNDS: usize = 50;

/// What may be dialled, and what may not: the same port on two addresses.
struct Doors {
    port: u16,
    good: Arc<AtomicUsize>,
    bad: Arc<AtomicUsize>,
}

impl Doors {
    async fn open() -> Self {
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = good.local_addr().unwrap().port();
        let bad = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        Self { port, good: counted(good), bad: counted(bad) }
    }

    /// Only the one door.
    fn policy(&self) -> Policy {
        Policy { allowed: vec![format!("127.0.0.1/32:{}", self.port).parse().unwrap()], ..Policy::default() }
    }

    fn bad(&self) -> usize {
        self.bad.load(Ordering::SeqCst)
    }
}

fn counted(listener: TcpListener) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    count
}

const GOOD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
const BAD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

async fn dial(dialer: &Dialer, port: u16) -> Result<SocketAddr, DialError> {
    let resolved = dialer.resolve("rebind.example", port).await?;
    Ok(dialer.connect(&resolved).await?.peer_addr().expect("a peer"))
}

#[tokio::test]
async fn a_name_that_changes_between_look_ups_leads_only_to_judged_addresses() {
    let doors = Doors::open().await;
    // Two questions a look-up, for both kinds of address. The answers change with
    // every look-up, every second one, and within one.
    for every in [2, 4, 1] {
        let answer = move |_: &str, before: usize| {
            Answer::Addresses(vec![if (before / every).is_multiple_of(2) { GOOD } else { BAD }])
        };
        let server = NameServer::start(name_server_address(), answer).await;
        let dialer = dialer(doors.policy(), &server);
        let (mut reached, mut blocked, mut nowhere) = (0, 0, 0);
        for _ in 0..ROUNDS {
            match dial(&dialer, doors.port).await {
                Ok(peer) => {
                    assert_eq!(peer.ip(), GOOD);
                    reached += 1;
                }
                Err(DialError::AddressBlocked) => blocked += 1,
                Err(other) => panic!("{other:?}"),
            }
            nowhere += 1;
        }
        assert_eq!(server.asked(), 2 * nowhere, "a look-up asks once for each kind of address");
        if every != 1 {
            assert!(reached > 0 && blocked > 0, "{every}: {reached} reached, {blocked} blocked");
        }
    }
    assert!(doors.good.load(Ordering::SeqCst) > 0);
    assert_eq!(doors.bad(), 0);
}

#[tokio::test]
async fn one_denied_address_refuses_a_name_wherever_it_stands() {
    let doors = Doors::open().await;
    let metadata: IpAddr = "169.254.169.254".parse().unwrap();
    let loopback: IpAddr = "::1".parse().unwrap();
    for addresses in [
        vec![GOOD, BAD],
        vec![BAD, GOOD],
        vec![GOOD, loopback],
        vec![GOOD, metadata],
        vec![GOOD, "fd00:ec2::254".parse().unwrap()],
        vec![GOOD, "::ffff:127.0.0.2".parse().unwrap()],
        [vec![GOOD; 60], vec![metadata]].concat(),
    ] {
        let said = addresses.clone();
        let server = NameServer::start(name_server_address(), move |_, _| Answer::Addresses(said.clone())).await;
        let outcome = dial(&dialer(doors.policy(), &server), doors.port).await;
        assert!(matches!(outcome, Err(DialError::AddressBlocked)), "{addresses:?}: {outcome:?}");
    }
    assert_eq!((doors.good.load(Ordering::SeqCst), doors.bad()), (0, 0));
}

#[tokio::test]
async fn aliases_are_followed_so_far_and_judged_at_their_end() {
    let doors = Doors::open().await;
    // `rebind.example` -> `1.example` -> `2.example` -> ..., a question each.
    let chain = |length: usize, end: IpAddr| {
        move |name: &str, _: usize| match name.split('.').next().and_then(|label| label.parse::<usize>().ok()) {
            Some(place) if place >= length => Answer::Addresses(vec![end]),
            place => Answer::Alias(format!("{}.example", place.unwrap_or(0) + 1), vec![]),
        }
    };
    let server = NameServer::start(name_server_address(), chain(4, GOOD)).await;
    assert_eq!(dial(&dialer(doors.policy(), &server), doors.port).await.unwrap().ip(), GOOD);
    let server = NameServer::start(name_server_address(), chain(4, BAD)).await;
    let outcome = dial(&dialer(doors.policy(), &server), doors.port).await;
    assert!(matches!(outcome, Err(DialError::AddressBlocked)), "{outcome:?}");
    // The whole chain in one answer.
    let said = Answer::Alias("end.example".to_owned(), vec![BAD]);
    let server = NameServer::start(name_server_address(), move |_, _| said.clone()).await;
    let outcome = dial(&dialer(doors.policy(), &server), doors.port).await;
    assert!(matches!(outcome, Err(DialError::AddressBlocked)), "{outcome:?}");
    // One without an end, and one in a circle.
    let server = NameServer::start(name_server_address(), chain(usize::MAX, BAD)).await;
    let outcome = dial(&dialer(doors.policy(), &server), doors.port).await;
    assert!(matches!(outcome, Err(DialError::NotFound(_))), "{outcome:?}");
    assert!(server.asked() < 100, "{} questions", server.asked());
    let circle = |name: &str, _: usize| {
        Answer::Alias(if name == "a.example" { "rebind.example" } else { "a.example" }.to_owned(), vec![])
    };
    let server = NameServer::start(name_server_address(), circle).await;
    let outcome = dial(&dialer(doors.policy(), &server), doors.port).await;
    assert!(matches!(outcome, Err(DialError::NotFound(_))), "{outcome:?}");
    assert!(server.asked() < 100, "{} questions", server.asked());
    assert_eq!(doors.bad(), 0);
}

#[tokio::test]
async fn answers_that_are_huge_empty_or_nonsense_are_refused() {
    let doors = Doors::open().await;
    let many: Vec<IpAddr> = (0..1_500u32).map(|number| IpAddr::V4((0x7f00_0100 + number).into())).collect();
    let server = NameServer::start(name_server_address(), move |_, _| Answer::Addresses(many.clone())).await;
    let outcome = dial(&dialer(doors.policy(), &server), doors.port).await;
    assert!(matches!(outcome, Err(DialError::TooManyAddresses)), "{outcome:?}");
    for answer in [
        Answer::Addresses(vec![]),
        Answer::Garbage(vec![0xff; 600]),
        Answer::Garbage(vec![]),
        Answer::Misplaced(vec![BAD]),
    ] {
        let said = answer.clone();
        let server = NameServer::start(name_server_address(), move |_, _| said.clone()).await;
        let outcome = dial(&dialer(doors.policy(), &server), doors.port).await;
        assert!(matches!(outcome, Err(DialError::NotFound(_) | DialError::TimedOut)), "{answer:?}: {outcome:?}");
    }
    assert_eq!((doors.good.load(Ordering::SeqCst), doors.bad()), (0, 0));
}

#[tokio::test]
async fn a_name_server_that_is_silent_is_not_waited_for() {
    let server = NameServer::start(name_server_address(), |_, _| Answer::Silence).await;
    let began = std::time::Instant::now();
    let outcome = dial(&dialer(Policy::default(), &server), 5432).await;
    assert!(matches!(outcome, Err(DialError::TimedOut)), "{outcome:?}");
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
}

/// A name that a user names is not looked for in the networks of this machine.
#[tokio::test]
async fn a_name_is_asked_for_as_it_is() {
    let (sender, names) = std::sync::mpsc::channel();
    let server = NameServer::start(name_server_address(), move |name, _| {
        sender.send(name.to_owned()).unwrap();
        Answer::Addresses(vec![])
    });
    let server = server.await;
    for host in ["db", "db.", "Db.Example"] {
        drop(dialer(Policy::default(), &server).resolve(host, 5432).await);
    }
    let mut asked: Vec<String> = names.try_iter().collect();
    asked.dedup();
    assert_eq!(asked, ["db", "db.example"]);
}
