//! Processes that are killed, and the books afterwards.

use std::process::Command;

use serde_json::Value;

fn drill(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_buttress-lab"))
        .args(["drill", "crash"])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Wherever a process dies, nothing that it acknowledged is lost, and nothing is done twice.
fn holds(store: &str, kills: u64) {
    let (status, out, err) = drill(&[
        "--store",
        store,
        "--kills",
        &kills.to_string(),
        "--seed",
        "4",
        "--format",
        "json",
    ]);
    let drilled: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let count = |key: &str| drilled[key].as_u64().unwrap();
    assert_eq!(count("kills"), kills);
    assert!(count("acknowledged") > kills, "{out}");
    assert_eq!([count("lost"), count("duplicated_effects"), count("unresolved")], [0; 3], "{out}");
    // A drill without doubt would prove little.
    assert!(count("in_doubt") > 0, "{out}");
    assert!(drilled["points"].as_object().unwrap().len() >= 8, "{out}");
    assert_eq!(status, Some(0), "{out}{err}");
}

#[test]
fn nothing_is_lost_in_a_file() {
    holds("redb", 120);
}

#[test]
fn nothing_is_lost_on_postgresql() {
    holds("postgres", 80);
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
