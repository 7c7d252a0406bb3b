//! What the endpoint answers to those who ask rightly.

use std::io::Read;

use flate2::read::GzDecoder;
use prost::Message;
use taskleak_profile::snapshot::{Kind, SCHEMA, Snapshot, State, Wait};

use crate::client::{Answer, Connection, get, get_request, head};
use crate::parked::Parked;
use crate::support::{count, endpoint, listed, until};

#[test]
fn text_has_a_part_for_each_group() {
    let parked = Parked::new("text");
    let answer = get(endpoint(), "/debug/tasks?runtime=text").ok();
    let text = String::from_utf8(answer).unwrap();
    assert!(text.starts_with("task profile: total 6\n"), "{text}");
    let group = part(&text, "\n\n", "name receiver");
    let mut lines = group.lines();

    let addresses = lines.next().unwrap().strip_prefix("3 @ ").expect(&group);
    let is_address = |word: &str| word.starts_with("0x") && word.len() > 2;
    assert!(addresses.split(' ').all(is_address), "{group}");

    let about = lines.next().unwrap();
    assert!(
        about.starts_with("# chan receive (tokio::sync::mpsc) for "),
        "{group}"
    );
    assert!(about.contains(" · runtime text · group "), "{group}");

    let frame = lines.next().unwrap();
    assert!(frame.starts_with("#\t0x"), "{group}");
    assert!(frame.contains("\tservice::parked::receive\t"), "{group}");
    assert!(frame.contains("tests/service/parked.rs:"), "{group}");

    assert_eq!(lines.next(), Some("# created by"), "{group}");
    assert!(
        group.contains("\tservice::parked::Parked::new\t"),
        "{group}"
    );
    assert!(
        group.contains("text_has_a_part_for_each_group\t"),
        "{group}"
    );
    assert!(
        group.contains("# spawned at tests/tests/service/parked.rs:"),
        "{group}"
    );
    drop(parked);
}

#[test]
fn text_has_a_part_for_each_task() {
    let parked = Parked::new("text-2");
    let answer = get(endpoint(), "/debug/tasks?runtime=text-2&debug=2").ok();
    let text = String::from_utf8(answer).unwrap();
    assert_eq!(heads_of_tasks(&text).count(), 6, "{text}");
    for wait in ["sleep", "IO wait"] {
        // On a machine that is busy, ", 2s" stands between the two.
        let is_it = |head: &str| {
            head.contains(&format!(" [{wait}")) && head.ends_with(", runtime text-2]:")
        };
        let head = heads_of_tasks(&text).find(|head| is_it(head)).expect(&text);
        let task = part(&text, "\n\n", head);
        let mut lines = task.lines().skip_while(|line| *line != head).skip(1);
        let function = lines.next().unwrap();
        assert!(function.starts_with("service::parked::"), "{task}");
        assert!(lines.next().unwrap().starts_with('\t'), "{task}");
        assert_eq!(
            lines.next(),
            Some("created by service::parked::Parked::new"),
            "{task}"
        );
    }
    drop(parked);
}

fn heads_of_tasks(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| line.starts_with("task "))
}

#[test]
fn json_is_a_snapshot() {
    let parked = Parked::new("json");
    let snapshot = parked.listed("debug=2");
    assert_eq!(snapshot.schema, SCHEMA);
    assert_eq!(snapshot.process.pid, std::process::id());
    assert!(snapshot.health.recording);
    assert_eq!(snapshot.totals.tasks, 6);
    assert_eq!(snapshot.tasks.len(), 6);
    assert_eq!(snapshot.totals.by_wait[&Wait::ChanReceive], 3);
    let runtime = snapshot
        .runtimes
        .iter()
        .find(|runtime| runtime.name == "json");
    assert_eq!(runtime.expect("it is watched").workers, 2);

    let receivers = snapshot
        .groups
        .iter()
        .find(|group| group.name == "receiver");
    let receivers = receivers.expect("they are one group");
    assert_eq!((receivers.count, receivers.state), (3, State::Waiting));
    assert_eq!(receivers.wait, [Wait::ChanReceive]);
    assert_eq!(receivers.primitives, ["tokio::sync::mpsc"]);
    let shown = receivers.waiting_at[0].iter().find(|frame| !frame.hidden);
    assert_eq!(shown.unwrap().function, "service::parked::receive");
    let mut created_by = receivers.created_by.iter();
    assert!(created_by.any(|frame| frame.function == "service::parked::Parked::new"));
    let spawned_at = receivers.spawned_at.as_ref().expect("tokio tells");
    assert!(spawned_at.file.ends_with("tests/service/parked.rs"));

    let blocking = snapshot
        .groups
        .iter()
        .find(|group| group.kind == Kind::Blocking);
    assert_eq!(blocking.expect("one blocks").state, State::Blocking);
    drop(parked);
}

/// The fields of profile.proto that are looked at.
#[derive(Message)]
struct Profile {
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(string, repeated, tag = "6")]
    strings: Vec<String>,
}

#[derive(Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    locations: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    values: Vec<i64>,
}

#[test]
fn pprof_is_gzipped_profile_proto() {
    let parked = Parked::new("pprof");
    for target in [
        "/debug/pprof/tasks?runtime=pprof",
        "/debug/pprof/tasks?runtime=pprof&debug=0",
        "/debug/tasks?runtime=pprof&format=pprof",
    ] {
        let mut bytes = Vec::new();
        let zipped = get(endpoint(), target).ok();
        GzDecoder::new(&zipped[..])
            .read_to_end(&mut bytes)
            .expect("it is gzipped");
        let profile = Profile::decode(&bytes[..]).expect("it is a profile");
        let tasks: i64 = profile.samples.iter().map(|sample| sample.values[0]).sum();
        assert_eq!(tasks, 6, "{target}");
        assert!(
            profile
                .samples
                .iter()
                .all(|sample| !sample.locations.is_empty())
        );
        for name in ["service::parked::receive", "service::parked::Parked::new"] {
            assert!(profile.strings.iter().any(|known| known == name), "{name}");
        }
    }
    drop(parked);
}

#[test]
fn folded_is_a_line_for_each_group() {
    let parked = Parked::new("folded");
    let answer = get(endpoint(), "/debug/tasks?runtime=folded&format=folded").ok();
    let text = String::from_utf8(answer).unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
    let end = ";service::parked::Parked::new;service::parked::receive;[chan receive] 3";
    assert!(text.lines().any(|line| line.ends_with(end)), "{text}");
    drop(parked);
}

#[test]
fn one_task_is_shown_until_it_ends() {
    let parked = Parked::new("one");
    let id = parked.id(Wait::Io);
    let target = format!("/debug/tasks/{id}");
    let text = get(endpoint(), &target).ok();
    let text = String::from_utf8(text).unwrap();
    let heads: Vec<_> = heads_of_tasks(&text).collect();
    let [head_of_it] = heads[..] else {
        panic!("{text}");
    };
    assert!(
        head_of_it.starts_with(&format!("task {id} [IO wait")),
        "{text}"
    );
    assert!(text.contains("service::parked::accept\n"), "{text}");

    let json = get(endpoint(), &format!("{target}?format=json")).ok();
    let snapshot: Snapshot = serde_json::from_slice(&json).unwrap();
    assert_eq!(snapshot.totals.tasks, 1);
    assert_eq!(
        snapshot.tasks.get(id).expect("it alone").state,
        State::Waiting
    );

    // A filter leaves it out; it is there all the same.
    for filter in ["state=running", "min_blocked=1h"] {
        let answer = get(endpoint(), &format!("{target}?format=json&{filter}")).ok();
        let snapshot: Snapshot = serde_json::from_slice(&answer).unwrap();
        assert_eq!(snapshot.totals.tasks, 0, "{filter}");
    }

    drop(parked);
    for answer in [get(endpoint(), &target), head(endpoint(), &target)] {
        assert_eq!(answer.status, 404);
    }
    let told = format!("there is no task {id}; it may have ended\n");
    assert_eq!(get(endpoint(), &target).text(), told);
}

#[test]
fn the_index_counts_the_profiles() {
    let parked = Parked::new("index");
    let answer = get(endpoint(), "/debug/pprof/").ok();
    let text = String::from_utf8(answer).unwrap();
    assert!(text.starts_with("/debug/pprof/\n"), "{text}");
    let counted = part(&text, "\n", " tasks ");
    let counted: u64 = counted.trim().split(' ').next().unwrap().parse().unwrap();
    assert!(counted >= 6, "{text}");
    part(&text, "\n", " cmdline ");

    // Go's tools leave the slash out.
    let redirect = get(endpoint(), "/debug/pprof");
    assert_eq!(
        (redirect.status, redirect.header("location")),
        (308, "pprof/")
    );
    drop(parked);
}

#[test]
fn the_command_line_is_told() {
    let answer = get(endpoint(), "/debug/pprof/cmdline").ok();
    let expected: Vec<String> = std::env::args().collect();
    assert_eq!(String::from_utf8(answer).unwrap(), expected.join("\0"));
}

#[test]
fn addresses_may_be_posted_for_their_names() {
    // More than the buffers of two sockets: they have to be read for the answer to be seen.
    let addresses = "0x55a27e249408+".repeat(400_000);
    let mut connection = Connection::open(endpoint());
    let length = addresses.len();
    let head = format!(
        "POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    );
    connection.send(head + &addresses).unwrap();
    let answer = connection.receive().unwrap();
    assert_eq!((answer.status, answer.text()), (200, "num_symbols: 1\n"));
    connection.send(get_request("/debug/pprof/")).unwrap();
    assert_eq!(connection.receive().unwrap().status, 200);
}

#[test]
fn headers_say_what_it_is_and_that_it_is_not_kept() {
    let text = "text/plain; charset=utf-8";
    let check = |path: &str, status: u16, content_type: &str, disposition: &str| {
        let parts = |answer: &Answer| {
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(answer.header("cache-control"), "no-store", "{path}");
            let names = ["content-type", "content-disposition"];
            (
                answer.status,
                names.map(|name| answer.header(name).to_owned()),
            )
        };
        let expected = (status, [content_type, disposition].map(str::to_owned));
        assert_eq!(parts(&get(endpoint(), path)), expected, "{path}");
        assert_eq!(parts(&head(endpoint(), path)), expected, "HEAD {path}");
    };
    let (json, binary) = ("application/json", "application/octet-stream");
    let attached = "attachment; filename=\"tasks.pb.gz\"";
    check("/debug/tasks?limit=1", 200, text, "");
    check("/debug/tasks?limit=1&debug=2", 200, text, "");
    check("/debug/tasks?limit=1&format=json", 200, json, "");
    check("/debug/tasks?limit=1&format=folded", 200, text, "");
    check("/debug/tasks?limit=1&format=pprof", 200, binary, attached);
    check("/debug/pprof/tasks?limit=1", 200, binary, attached);
    check("/debug/pprof/tasks?limit=1&debug=1", 200, text, "");
    check("/debug/pprof/", 200, text, "");
    check("/debug/pprof/cmdline", 200, text, "");
    check("/debug/pprof", 308, text, "");
    check("/debug/tasks/0", 404, text, "");
    check("/debug/tasks?format=xml", 400, text, "");
    check("/", 404, text, "");
}

#[test]
fn a_head_has_the_length_of_what_get_would_send() {
    let target = "/debug/pprof/cmdline";
    let length = get(endpoint(), target).body.len().to_string();
    assert_eq!(head(endpoint(), target).header("content-length"), length);
}

#[test]
fn filters_choose_what_is_listed() {
    let parked = Parked::new("filters");
    let check = |query: &str, expected: u64| {
        assert_eq!(parked.count(query), expected, "{query}");
    };
    check("", 6);
    check("state=waiting", 5);
    check("state=blocking", 1);
    check("state=running", 0);
    check("wait=chan+receive", 3);
    check("wait=io_wait", 1);
    check("wait=sleep", 1);
    check("wait=join", 0);
    check("name=receiver", 3);
    check("name=ceive", 3);
    check("name=sender", 0);
    check("function=service::parked::accept", 1);
    check("function=parked::Parked::new", 6);
    check("function=tokio::sync::mpsc", 3);
    check("function=no::such", 0);
    check("min_blocked=0", 5);
    check("min_blocked=1h", 0);
    check("limit=1", 3);
    check("limit=100", 6);
    check("seconds=300", 6);
    check("verdict=suspect", 0);
    check("state=waiting&name=receiver&limit=1", 3);
    let group = parked.listed("wait=sleep").groups[0].id;
    check(&format!("group={group}"), 1);
    check("group=0", 0);
    assert_eq!(count("runtime=filter"), 0, "a runtime's name is whole");

    let part = listed("runtime=filters&wait=sleep&debug=2");
    assert_eq!(part.tasks.len(), 1);
    assert!(part.totals.left_out >= 5);

    until(|| parked.count("min_blocked=50ms") == 5);
    drop(parked);
}

#[test]
fn seconds_list_what_is_new() {
    let parked = Parked::new("seconds");
    let old = parked.id(Wait::Sleep);
    let ages = || {
        parked
            .listed("")
            .groups
            .into_iter()
            .map(|group| group.age_ms.min)
    };
    until(|| ages().min() > Some(1000));
    assert_eq!(parked.count("seconds=1"), 0);
    assert_eq!(parked.count("seconds=300"), 6);
    // On a machine that is busy for a second, the new one is old at once.
    until(|| {
        let new = parked.runtime().spawn(std::future::pending::<()>());
        let listed = parked.listed("seconds=1&debug=2").tasks;
        new.abort();
        listed.len() == 1 && listed.get(old).is_none()
    });
    drop(parked);
}

#[test]
fn its_own_tasks_are_left_out() {
    let mut kept: Vec<Connection> = (0..3).map(|_| Connection::open(endpoint())).collect();
    for connection in &mut kept {
        connection.send(get_request("/debug/pprof/")).unwrap();
        connection.receive().unwrap();
    }
    // Three connections are open, and a fourth is being answered.
    let snapshot = listed("");
    let places = snapshot
        .groups
        .iter()
        .filter_map(|group| group.spawned_at.as_ref());
    let own = places.filter(|at| at.file.contains("taskleak/src"));
    assert_eq!(own.count(), 0);
}

/// The part of a text that contains this.
#[track_caller]
fn part(text: &str, separator: &str, with: &str) -> String {
    let found = text.split(separator).find(|part| part.contains(with));
    found
        .unwrap_or_else(|| panic!("no {with:?} in {text}"))
        .to_owned()
}
