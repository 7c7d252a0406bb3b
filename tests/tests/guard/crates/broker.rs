//! A client of a message broker that runs in the same process: fe2o3-amqp speaks both sides of
//! AMQP 1.0.

use std::net::SocketAddr;

use fe2o3_amqp::acceptor::{
    ConnectionAcceptor, LinkAcceptor, LinkEndpoint, ListenerSessionHandle, SessionAcceptor,
};
use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::types::messaging::Outcome;
use fe2o3_amqp::{Connection, Receiver, Sender, Session};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{assert_left, guard};

/// Spawns the task of a client's connection.
const CONNECTS: &str = "fe2o3_amqp::connection::engine::ConnectionEngine::spawn";
const RUNS_CONNECTION: &str = "fe2o3_amqp::connection::engine::ConnectionEngine::event_loop";
/// Spawns the task of a client's session.
const BEGINS: &str = "fe2o3_amqp::session::engine::SessionEngine::spawn";
const RUNS_SESSION: &str = "fe2o3_amqp::session::engine::SessionEngine::event_loop";

/// Ends with all that it has spawned when it is dropped.
struct Broker {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Broker {
    async fn start() -> Broker {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut clients = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                clients.spawn(serve(stream));
            }
        });
        Broker {
            address,
            _tasks: tasks,
        }
    }
}

async fn serve(stream: TcpStream) {
    let acceptor = ConnectionAcceptor::new("broker");
    let mut connection = acceptor.accept(stream).await.expect("it speaks AMQP");
    let sessions = SessionAcceptor::new();
    while let Ok(mut session) = sessions.accept(&mut connection).await {
        echo(&mut session).await;
        let _is_answered = session.on_end().await;
    }
}

/// Hands each message that comes over the first link on over the second.
async fn echo(session: &mut ListenerSessionHandle) {
    let links = LinkAcceptor::new();
    let from = links.accept(session).await;
    let to = links.accept(session).await;
    let (Ok(LinkEndpoint::Receiver(mut from)), Ok(LinkEndpoint::Sender(mut to))) = (from, to)
    else {
        panic!("first it sends, then it receives");
    };
    while let Ok(delivery) = from.recv::<String>().await {
        from.accept(&delivery).await.expect("it waits for that");
        let outcome = to.send(delivery.body().clone()).await;
        outcome.expect("it receives");
    }
}

struct Client {
    sender: Sender,
    receiver: Receiver,
    session: SessionHandle<()>,
    connection: ConnectionHandle<()>,
}

impl Client {
    async fn connect(to: SocketAddr) -> Client {
        let url = format!("amqp://{to}");
        let connection = Connection::open("client", &url[..]).await;
        let mut connection = connection.expect("it takes connections");
        let session = Session::begin(&mut connection).await;
        let mut session = session.expect("it takes sessions");
        let sender = Sender::attach(&mut session, "out", "news").await;
        let receiver = Receiver::attach(&mut session, "in", "news").await;
        Client {
            sender: sender.expect("it takes links"),
            receiver: receiver.expect("it takes links"),
            session,
            connection,
        }
    }

    async fn publish_and_receive(&mut self) {
        let outcome = self.sender.send("hello").await.expect("it is sent");
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        let delivery = self
            .receiver
            .recv::<String>()
            .await
            .expect("it is received");
        self.receiver
            .accept(&delivery)
            .await
            .expect("the broker is there");
        assert_eq!(delivery.body(), "hello");
    }

    async fn close(mut self) {
        self.sender.close().await.expect("the broker answers");
        self.receiver.close().await.expect("the broker answers");
        self.session.end().await.expect("the broker answers");
        self.connection.close().await.expect("the broker answers");
    }
}

#[taskleak::test]
async fn clients_that_close_are_clean() {
    let broker = Broker::start().await;
    let guard = guard();
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let address = broker.address;
        clients.spawn(async move {
            let mut client = Client::connect(address).await;
            client.publish_and_receive().await;
            client.close().await;
        });
    }
    clients.join_all().await;
    guard.verify().await;
}

#[taskleak::test]
async fn a_client_has_two_tasks_which_end_when_it_is_dropped() {
    let broker = Broker::start().await;
    let guard = guard();
    let mut client = Client::connect(broker.address).await;
    client.publish_and_receive().await;
    assert_left(
        &guard.settled().await,
        &[(1, CONNECTS, RUNS_CONNECTION), (1, BEGINS, RUNS_SESSION)],
    );
    drop(client);
    guard.verify().await;
}

/// It waits for the answer to its goodbye without a limit.
#[taskleak::test(settle = "30s")]
async fn a_dropped_client_stays_where_its_broker_has_fallen_silent() {
    let broker = Broker::start().await;
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let (silence, falls) = oneshot::channel::<()>();
    let between = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("it connects");
        let onward = TcpStream::connect(broker.address).await;
        let mut onward = onward.expect("the broker takes connections");
        tokio::select! {
            done = copy_bidirectional(&mut client, &mut onward) => panic!("{done:?}"),
            _ = falls => client,
        }
    });
    let guard = guard();
    let mut client = Client::connect(address).await;
    client.publish_and_receive().await;
    silence.send(()).expect("it copies");
    let stream = between.await.expect("it stops");
    drop(client);
    // The connection's task waits nowhere: it polls a closed channel over and over.
    assert_left(
        &guard.settled().await,
        &[(1, CONNECTS, ""), (1, BEGINS, RUNS_SESSION)],
    );
    drop(stream);
}
