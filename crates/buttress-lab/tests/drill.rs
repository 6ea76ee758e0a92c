//! Processes that are killed, and the books afterwards.

use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    thread::yield_now,
};

use serde_json::Value;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_buttress-lab"));
    command.args(["drill", "crash"]).args(arguments);
    command
}

fn drill(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Wherever a process dies, nothing that it acknowledged is lost, and nothing is done twice.
fn holds(arguments: &[&str], kills: u64) -> Value {
    let killed = kills.to_string();
    let arguments = [arguments, &["--kills", &killed, "--seed", "4", "--format", "json"]].concat();
    let (status, out, err) = drill(&arguments);
    let drilled: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let count = |key: &str| drilled[key].as_u64().unwrap();
    assert_eq!(count("kills"), kills, "{out}{err}");
    assert!(count("acknowledged") > kills, "{out}");
    assert_eq!([count("lost"), count("duplicated_effects"), count("unresolved")], [0; 3], "{out}");
    // A drill without doubt would prove little.
    assert!(count("in_doubt") > 0, "{out}");
    assert_eq!(status, Some(0), "{out}{err}");
    drilled
}

#[test]
fn nothing_is_lost_in_a_file() {
    let drilled = holds(&["--store", "redb"], 120);
    assert!(drilled["points"].as_object().unwrap().len() >= 8, "{drilled}");
}

#[test]
fn nothing_is_lost_on_postgresql() {
    let drilled = holds(&["--store", "postgres"], 80);
    assert!(drilled["points"].as_object().unwrap().len() >= 8, "{drilled}");
}

#[test]
fn nothing_is_lost_when_the_server_is_killed() {
    let drilled = holds(&["--store", "postgres", "--kill-server"], 15);
    assert!(drilled["points"]["server"].as_u64() > Some(0), "{drilled}");
    let (status, _, err) = drill(&["--store", "redb", "--kill-server"]);
    assert!(status == Some(1) && err.contains("--store redb"), "{err}");
}

#[test]
fn what_an_earlier_drill_did_on_the_same_server_does_not_count() {
    for _ in 0..2 {
        let (status, out, err) =
            drill(&["--store", "postgres", "--kills", "2", "--seed", "5", "--format", "json"]);
        assert_eq!(status, Some(0), "{out}{err}");
    }
}

#[test]
fn ctrl_c_ends_it_with_the_table_so_far_and_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    for times in [1, 2] {
        let child = command(&["--store", "redb", "--kills", "100000", "--format", "json"])
            .env("TMPDIR", place.path())
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Until it has begun.
        while fs::read_dir(place.path()).unwrap().next().is_none() {
            yield_now();
        }
        for _ in 0..times {
            // As a terminal does: to all processes at once.
            let group = format!("-{}", child.id());
            assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
        }
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{told}");
        // Two at once may count as one.
        if times == 1 || !output.stdout.is_empty() {
            let drilled: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(drilled["interrupted"], true);
            assert_eq!([&drilled["lost"], &drilled["unresolved"]], [0, 0], "{drilled}");
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_drill_that_cannot_go_on_says_why() {
    let place = tempfile::tempdir().unwrap();
    let output = command(&["--store", "postgres", "--kills", "3", "--format", "json"])
        .env("BUTTRESS_POSTGRES", "postgres://nobody:secret@127.0.0.1:1/none")
        .env("TMPDIR", place.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let drilled: Value = serde_json::from_slice(&output.stdout).unwrap();
    let why = drilled["failure"].as_str().unwrap();
    assert!(why.contains("127.0.0.1:1 cannot be reached") && !why.contains("secret"), "{why}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn without_a_server_it_says_what_to_do() {
    let output = Command::new(env!("CARGO_BIN_EXE_buttress-lab"))
        .args(["drill", "crash", "--kills", "1"])
        .env_remove("BUTTRESS_POSTGRES")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("scripts/postgres run") && told.contains("--store redb"), "{told}");
}
