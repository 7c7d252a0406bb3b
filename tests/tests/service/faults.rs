//! Wrong requests, clients that misbehave, and tasks that go while they are looked at.

use std::collections::HashSet;
use std::net::{TcpListener, TcpStream};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use taskleak::Detector;
use taskleak_profile::snapshot::Snapshot;
use tokio::task::JoinHandle;
use tracing::subscriber::NoSubscriber;

use crate::client::{Connection, get, get_request, request};
use crate::parked::Parked;
use crate::support::{count, detector, endpoint, listed, runtime, server, until};

#[test]
fn a_wrong_request_is_told_what_is_allowed() {
    let check = |method: &str, target: &str, status: u16, told: &[&str]| {
        let bytes = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = request(endpoint(), bytes);
        assert_eq!(
            answer.status,
            status,
            "{method} {target}: {}",
            answer.text()
        );
        let lines: Vec<&str> = answer.text().lines().collect();
        assert_eq!(lines.len(), 1, "{method} {target}: {lines:?}");
        for part in told {
            assert!(lines[0].contains(part), "{method} {target}: {}", lines[0]);
        }
        assert!(answer.text().ends_with('\n'));
        answer
    };
    let bad = |query: &str, told: &[&str]| {
        check("GET", &format!("/debug/tasks?{query}"), 400, told);
        check("GET", &format!("/debug/tasks/1?{query}"), 400, told);
        check("GET", &format!("/debug/pprof/tasks?{query}"), 400, told);
    };
    bad(
        "format=xml",
        &["format", "xml", "text, json, pprof, folded"],
    );
    bad("debug=3", &["debug", "3", "0, 1, 2"]);
    bad("colour=red", &["colour", "format, debug, state, wait"]);
    bad(
        "state=asleep",
        &["state", "asleep", "running, runnable, waiting, blocking"],
    );
    bad(
        "wait=godot",
        &["wait", "godot", "chan receive", "IO wait", "nothing"],
    );
    bad(
        "verdict=guilty",
        &["verdict", "guilty", "suspect, likely, proven"],
    );
    bad("min_blocked=soon", &["min_blocked", "soon", "30s"]);
    bad("min_blocked=-1", &["min_blocked", "-1", "30s"]);
    bad("group=xyz", &["group", "xyz", "hexadecimal"]);
    bad("limit=0", &["limit", "0", "1 or more"]);
    bad("limit=99999999999999999999", &["limit", "1 or more"]);
    bad("seconds=0", &["seconds", "0", "1 to 300"]);
    bad("seconds=301", &["seconds", "301", "1 to 300"]);
    bad("seconds=1.5", &["seconds", "1.5", "1 to 300"]);
    bad("full=2", &["full", "0, 1"]);
    bad("limit=1&limit=2", &["limit", "twice"]);
    bad("name=%ff", &["%ff", "UTF-8"]);
    bad("name=", &["name", "a part of a task's name"]);

    check(
        "GET",
        "/debug/tasks?format=html",
        404,
        &["html", "not built"],
    );
    check(
        "GET",
        "/debug/tasks/18446744073709551615",
        404,
        &["18446744073709551615"],
    );
    check("GET", "/debug/tasks/first", 404, &["first", "number"]);
    check(
        "GET",
        "/debug/pprof/heap",
        404,
        &["/debug/pprof/heap", "/debug/pprof/tasks"],
    );
    check("GET", "/", 404, &["/debug/tasks"]);

    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        let answer = check(method, "/debug/tasks", 405, &[method, "GET, HEAD"]);
        assert_eq!(answer.header("allow"), "GET, HEAD");
    }
    check("OPTIONS", "*", 405, &["OPTIONS"]);
    check("CONNECT", "localhost:80", 405, &["CONNECT"]);
    let answer = check(
        "PUT",
        "/debug/pprof/symbol",
        405,
        &["PUT", "GET, HEAD, POST"],
    );
    assert_eq!(answer.header("allow"), "GET, HEAD, POST");
}

#[test]
fn what_is_no_http_is_refused() {
    let check = |bytes: &[u8], expected: &[u16]| {
        let mut connection = Connection::open(endpoint());
        // The server may have closed it before all is sent.
        let _cut = connection.send(bytes);
        let told = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]);
        match connection.receive() {
            Ok(answer) => assert!(expected.contains(&answer.status), "{told}: {answer:?}"),
            Err(_closed) => assert!(expected.is_empty(), "{told}"),
        }
        connection.until_closed();
    };
    check(
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n",
        &[400],
    );
    check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[]);
    check(b"GET /debug/tasks\r\n\r\n", &[400]);
    check(
        b"GET /debug/tasks HTTP/1.1\r\nHost localhost\r\n\r\n",
        &[400],
    );
    let long = "x".repeat(20_000);
    let line = format!("GET /debug/tasks?name={long} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    check(line.as_bytes(), &[414, 431]);
    let header = format!("GET /debug/tasks HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n");
    check(header.as_bytes(), &[431]);
    let many = "X: y\r\n".repeat(200);
    let headers = format!("GET /debug/tasks HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    check(headers.as_bytes(), &[431]);

    get(endpoint(), "/debug/tasks?limit=1").ok();
}

#[test]
fn only_requests_for_this_machine_are_served() {
    let check = |host: &str, status: u16| {
        let bytes = format!("GET /debug/pprof/ HTTP/1.1\r\n{host}\r\n");
        let mut connection = Connection::open(endpoint());
        connection.send(bytes).unwrap();
        let answer = connection.receive().unwrap();
        assert_eq!(answer.status, status, "{host}");
        if status == 403 {
            assert!(answer.text().contains("Host"), "{}", answer.text());
            assert_eq!(answer.header("connection"), "close");
            connection.until_closed();
        }
    };
    let port = endpoint().port();
    check("Host: localhost\r\n", 200);
    check(&format!("Host: localhost:{port}\r\n"), 200);
    check(&format!("Host: 127.0.0.1:{port}\r\n"), 200);
    check("Host: [::1]:6060\r\n", 200);
    check("Host: rebound.example\r\n", 403);
    check(&format!("Host: 127.0.0.1.rebound.example:{port}\r\n"), 403);
    check("Host: localhost\r\nHost: rebound.example\r\n", 403);
    check("Host: \r\n", 403);
    check("", 403);
}

#[test]
fn beyond_loopback_it_takes_a_token() {
    let (_subscriber, plain) = Detector::builder().wrap(NoSubscriber::new());
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:6060"] {
        let error = plain.serve(address).unwrap_err().to_string();
        assert!(error.contains(address), "{error}");
        assert!(error.contains("expose_beyond_loopback"), "{error}");
    }

    let exposed = Detector::builder().expose_beyond_loopback("s3cret");
    let (_subscriber, exposed) = exposed.wrap(NoSubscriber::new());
    let server = exposed.serve("0.0.0.0:0").expect("a port is free");
    let address = ([127, 0, 0, 1], server.local_addr().port()).into();
    let check = |authorization: &str, status: u16| {
        let bytes =
            format!("GET /debug/tasks HTTP/1.1\r\nHost: any.example\r\n{authorization}\r\n");
        let answer = request(address, bytes);
        assert_eq!(answer.status, status, "{authorization}");
        if status == 401 {
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            assert!(!answer.text().contains("s3cret"));
        }
    };
    check("Authorization: Bearer s3cret\r\n", 200);
    check("Authorization: bearer s3cret\r\n", 200);
    check("", 401);
    check("Authorization: Bearer s3cre\r\n", 401);
    check("Authorization: Bearer s3cret!\r\n", 401);
    check("Authorization: Basic s3cret\r\n", 401);
    server.stop();

    let local = exposed.serve("127.0.0.1:0").expect("a port is free");
    assert_eq!(get(local.local_addr(), "/debug/tasks").status, 200);
    local.stop();
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let check = |address: &str, cause: &str| {
        let error = detector().serve(address).unwrap_err().to_string();
        let line = format!("cannot bind the debug endpoint to {address}: ");
        assert!(error.starts_with(&line), "{error}");
        assert!(error.contains(cause), "{error}");
        assert!(!error.contains('\n'), "{error}");
    };
    check(&address, "in use");
    check("127.0.0.1", "");
    check("no port", "");
    check("no.such.host.invalid:6060", "");
}

#[test]
fn a_second_detector_is_an_error() {
    detector();
    let error = Detector::builder().install().unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot install the detector: it is installed already"
    );
    let console = Detector::builder().console(([127, 0, 0, 1], 0)).install();
    assert_eq!(console.unwrap_err().to_string(), error);
    assert!(listed("").health.recording);
}

#[test]
fn a_server_that_is_stopped_is_gone() {
    let server = server();
    let address = server.local_addr();
    let mut kept = Connection::open(address);
    kept.send(get_request("/debug/pprof/")).unwrap();
    kept.receive().unwrap();
    server.stop();
    kept.until_closed();
    assert!(TcpStream::connect(address).is_err());
    let again = detector().serve(&address.to_string());
    again.expect("its port is free again").stop();
}

#[test]
fn half_requests_hold_nobody_up() {
    let server = server();
    let request = get_request("/debug/tasks");
    let halves: Vec<_> = (1..20)
        .map(|length| {
            let mut connection = Connection::open(server.local_addr());
            connection.send(&request[..length]).unwrap();
            connection
        })
        .collect();
    get(server.local_addr(), "/debug/tasks?limit=1").ok();
    drop(halves);
    get(server.local_addr(), "/debug/tasks?limit=1").ok();
    server.stop();
}

#[test]
fn clients_that_read_nothing_hold_nobody_up() {
    let runtime = runtime("unread");
    const TASKS: u64 = 20_000;
    for _ in 0..TASKS {
        runtime.spawn(std::future::pending::<()>());
    }
    until(|| count("runtime=unread&state=waiting") == TASKS);
    let server = server();
    let unread: Vec<_> = (0..10)
        .map(|_| {
            let mut connection = Connection::open(server.local_addr());
            let request = get_request("/debug/tasks?runtime=unread&debug=2&full=1");
            connection.send(request).unwrap();
            connection
        })
        .collect();
    until(|| get(server.local_addr(), "/debug/tasks?limit=1").status == 200);
    drop(unread);
    server.stop();
    runtime.shutdown_background();
}

#[test]
fn more_clients_than_there_is_room_for_take_turns() {
    let server = server();
    const CLIENTS: usize = 100;
    let start = Barrier::new(CLIENTS);
    let statuses = thread::scope(|clients| {
        let client = || {
            start.wait();
            let answer = get(server.local_addr(), "/debug/tasks?limit=1");
            if answer.status == 503 {
                assert_eq!(answer.header("retry-after"), "1");
                assert_eq!(answer.text(), "too many answers at once\n");
            }
            answer.status
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| clients.spawn(client)).collect();
        let statuses = clients.into_iter().map(|client| client.join().unwrap());
        statuses.collect::<Vec<_>>()
    });
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(
        statuses.iter().all(|status| [200, 503].contains(status)),
        "{statuses:?}"
    );
    until(|| get(server.local_addr(), "/debug/tasks?limit=1").status == 200);
    server.stop();
}

#[test]
fn requests_in_one_packet_are_answered_in_turn() {
    let mut connection = Connection::open(endpoint());
    let targets = [
        "/debug/pprof/",
        "/debug/tasks?limit=0",
        "/debug/pprof/cmdline",
    ];
    connection.send(targets.map(get_request).concat()).unwrap();
    let statuses = targets.map(|_| connection.receive().unwrap().status);
    assert_eq!(statuses, [200, 400, 200]);
}

#[test]
fn a_wedged_runtime_is_shown() {
    let parked = Parked::new("wedged");
    let (end, ended) = mpsc::channel::<()>();
    let ended = Arc::new(std::sync::Mutex::new(ended));
    // One after the other: a worker that is handed both keeps the second one for later.
    for wedged in 1..=2 {
        let ended = Arc::clone(&ended);
        // Both workers are in a call that blocks, or wait for the lock.
        parked.runtime().spawn(async move {
            let _wedge = ended.lock().map(|ended| ended.recv());
        });
        until(|| parked.count("state=running") == wedged);
    }
    assert_eq!(parked.count(""), 8);
    let target = "/debug/tasks?runtime=wedged&debug=2&state=running";
    let text = String::from_utf8(get(endpoint(), target).ok()).unwrap();
    assert!(text.contains("a_wedged_runtime_is_shown"), "{text}");

    // Nothing has polled it, so it is of no runtime yet.
    let stuck = parked.runtime().spawn(async {});
    let text = get(endpoint(), &format!("/debug/tasks/{}", stuck.id())).ok();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(" [runnable"), "{text}");
    assert!(!text.contains("runtime wedged"), "{text}");

    drop(end);
    until(|| stuck.is_finished());
    drop(parked);
}

#[test]
fn tasks_that_panic_or_are_aborted_are_gone() {
    let runtime = runtime("panics");
    let panics = (0..200).map(|_| {
        // Like a panic, without its message.
        runtime.spawn(async { resume_unwind(Box::new(())) })
    });
    let aborted = (0..200).map(|_| {
        let task = runtime.spawn(std::future::pending::<()>());
        task.abort();
        task
    });
    let (panics, aborted): (Vec<_>, Vec<_>) = panics.zip(aborted).unzip();
    until(|| panics.iter().chain(&aborted).all(JoinHandle::is_finished));
    until(|| count("runtime=panics") == 0);
    drop(runtime);
}

#[test]
fn a_snapshot_of_tasks_that_come_and_go_is_sound() {
    let runtime = runtime("churn");
    let (over, spawned) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    for _ in 0..4 {
        let (over, spawned) = (Arc::clone(&over), Arc::clone(&spawned));
        runtime.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let short = (0..50).map(|_| tokio::spawn(tokio::task::yield_now()));
                let (short, aborted) = (short.collect::<Vec<_>>(), tokio::spawn(stay()));
                let panics = tokio::spawn(async { resume_unwind(Box::new(())) });
                aborted.abort();
                for task in short {
                    task.await.expect("it only yields");
                }
                let _panicked: Result<(), _> = panics.await;
                spawned.fetch_add(52, Ordering::Relaxed);
            }
        });
    }
    let mut looked = 0;
    until(|| {
        check_sound(&listed("runtime=churn&debug=2"));
        get(endpoint(), "/debug/pprof/tasks?runtime=churn").ok();
        looked += 1;
        looked >= 20 && spawned.load(Ordering::Relaxed) > 5_000
    });
    over.store(true, Ordering::Relaxed);
    until(|| count("runtime=churn") == 0);
    drop(runtime);
}

async fn stay() {
    std::future::pending::<()>().await;
}

/// No task is listed twice, and what is counted is what is listed.
fn check_sound(snapshot: &Snapshot) {
    let ids: HashSet<u64> = snapshot.tasks.iter().map(|task| task.id).collect();
    assert_eq!(ids.len(), snapshot.tasks.len());
    assert_eq!(snapshot.totals.tasks, ids.len() as u64);
    let groups: HashSet<_> = snapshot.groups.iter().map(|group| group.id).collect();
    assert_eq!(groups.len(), snapshot.groups.len());
    let counted: u64 = snapshot.groups.iter().map(|group| group.count).sum();
    assert_eq!(counted, snapshot.totals.tasks);
    assert!(
        snapshot
            .tasks
            .iter()
            .all(|task| groups.contains(&task.group))
    );
    assert!(snapshot.totals.spawned >= snapshot.totals.tasks);
}
