//! The program: its commands, files and exit statuses.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_buttress-lab"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    lab(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn scratch(name: &str) -> PathBuf {
    env::temp_dir().join(format!("buttress-lab-{}-{name}", std::process::id()))
}

fn interrupt(child: &Child) {
    let done = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(done.success());
}

#[test]
fn a_printed_plan_runs_as_the_built_in_one() {
    let plan = run(&["plans", "redundant"]);
    assert!(plan.status.success());
    let path = scratch("own.toml");
    fs::write(&path, &plan.stdout).unwrap();
    let flags = ["--requests", "200", "--seed", "5", "--format", "json"];
    let own = run(&[&["run", path.to_str().unwrap()], &flags[..]].concat());
    let built_in = run(&[&["redundant"], &flags[..]].concat());
    fs::remove_file(&path).unwrap();
    assert!(own.status.success(), "{}", text(&own.stderr));
    assert_eq!(text(&own.stdout), text(&built_in.stdout));
    assert!(text(&own.stdout).contains("\"seed\": 5"));
}

#[test]
fn the_name_of_the_file_says_the_format() {
    let path = scratch("report.html");
    // Longer than the report: nothing of it may be left.
    fs::write(&path, "old".repeat(100_000)).unwrap();
    let done = run(&["redundant", "--requests", "50", "--out", path.to_str().unwrap()]);
    let page = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(done.status.success() && done.stdout.is_empty());
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
}

#[test]
fn wrong_plans_and_commands_are_refused() {
    let path = scratch("bad.toml");
    fs::write(&path, "name = \"x\"\nrequets = 3\n").unwrap();
    let bad = run(&["run", path.to_str().unwrap()]);
    fs::remove_file(&path).unwrap();
    assert_eq!(bad.status.code(), Some(2));
    let told = text(&bad.stderr);
    assert!(told.contains("bad.toml:2:1: unknown key") && told.contains("\"requests\""), "{told}");

    for arguments in [
        &["run", "/no/such/plan.toml"][..],
        &["plans", "nope"],
        &["redundant", "--requests", "0"],
        &["redundant", "--requests", "10000001"],
        &["redundant", "--format", "xml"],
        &["help", "nope"],
        &["help", "store", "nope"],
    ] {
        let refused = run(arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(refused.stdout.is_empty() && !refused.stderr.is_empty(), "{arguments:?}");
    }
    let unwritable =
        run(&["redundant", "--requests", "10", "--out", "/no/such/folder/report.json"]);
    assert_eq!(unwritable.status.code(), Some(1));
}

#[test]
fn help_explains_commands_and_plans() {
    assert!(text(&run(&["help"]).stdout).contains("serve-tool"));
    assert!(text(&run(&["help", "run"]).stdout).contains("--over-http"));
    assert!(text(&run(&["help", "store", "resolve"]).stdout).contains("--landed"));
    assert_eq!(text(&run(&["help", "plan"]).stdout), include_str!("../docs/plan.md"));
    assert!(text(&run(&["plans"]).stdout).contains("redundant"));
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_with_what_was_measured() {
    let path = scratch("interrupted.json");
    let out = path.to_str().unwrap();
    // Waits of a second in real time: it is surely still running when it is interrupted.
    let mut child = lab(&["redundant", "--real-time", "--format", "json", "--out", out])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut warning = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut warning).unwrap();
    assert!(warning.contains("will take about"), "{warning}");
    interrupt(&child);
    let status = child.wait().unwrap();
    let report = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(status.code(), Some(130));
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["interrupted"], true);
    let arms = ["arms", "not_reached"].map(|key| report[key].as_array().unwrap().len());
    // It may come before the first arm has begun.
    assert!(matches!(arms, [1, 8] | [0, 9]), "{arms:?}");
}

#[test]
#[cfg(unix)]
fn the_tool_is_served_until_ctrl_c() {
    let mut child = lab(&["serve-tool", "--port", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    let address = first.trim().strip_prefix("listening on http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    interrupt(&child);
    assert!(child.wait().unwrap().success());
}
