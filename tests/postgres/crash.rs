//! The server dies, is stopped or hangs, and comes back.

use buttress::store::TroubleKind;
use tokio::task::JoinSet;
use tokio_postgres::NoTls;

use super::*;
use crate::support::postgres::Cluster;

fn unreachable(error: &StoreError) -> bool {
    matches!(error, StoreError::Engine(trouble) if trouble.kind == TroubleKind::Unreachable)
}

/// Writers write until the server is killed under them. What they were told is done is there afterwards, and
/// what they were not told can be asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_the_server() {
    let cluster = Cluster::start();
    let scratch = Scratch::on(cluster.url.clone());
    let store = scratch.store().await;
    for round in 0..2 {
        let mut writers = JoinSet::new();
        for writer in 0..8 {
            let store = store.clone();
            writers.spawn(async move {
                let id = workflow(&format!("{round}-{writer}"));
                let mut acknowledged = Vec::new();
                for n in 1.. {
                    let step = Begin { step: times("step", n), ..begin(&id, "step", take("me")) };
                    match store.begin(&step).await {
                        Ok(begun) => {
                            let ticket = fresh(begun);
                            match store.complete(&ticket, Entry::done(payload("x"))).await {
                                Ok(settled) => acknowledged.push((step, settled.record)),
                                Err(error) => {
                                    assert!(unreachable(&error), "{error:?}");
                                    return (id, acknowledged, Some(step));
                                }
                            }
                        }
                        Err(error) => {
                            assert!(unreachable(&error), "{error:?}");
                            return (id, acknowledged, None);
                        }
                    }
                }
                unreachable!("the server is killed before")
            });
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
        cluster.kill();
        let written = writers.join_all().await;
        assert!(unreachable(&store.list(None, None, 1).await.unwrap_err()));
        cluster.restart();
        let mut total = 0;
        for (id, acknowledged, asked) in written {
            total += acknowledged.len();
            for (step, record) in acknowledged {
                match store.begin(&step).await.unwrap() {
                    Begun::Completed { record: kept } => assert_eq!(kept, record),
                    lost => panic!("{lost:?}"),
                }
            }
            // Its answer was lost: either is right, and it is known which.
            if let Some(step) = asked {
                let begun = store.begin(&step).await.unwrap();
                assert!(
                    matches!(begun, Begun::Completed { .. } | Begun::Pending { .. }),
                    "{begun:?}"
                );
            }
            if store.summary(&id).await.unwrap().is_some() {
                assert_eq!(store.verify(&id).await.unwrap().findings, []);
            }
        }
        assert!(total > 0, "round {round} wrote something");
    }
}

/// Kills the process of a session of the store, if there is one, and waits until the server ends all others for it.
async fn kill_a_session(url: &str) {
    let pids = "SELECT pid FROM pg_stat_activity WHERE application_name = 'buttress'";
    loop {
        // It may not have recovered from the last time.
        if let Ok((client, connection)) = tokio_postgres::connect(url, NoTls).await {
            let ended = tokio::spawn(connection);
            if let Ok(rows) = client.query(pids, &[]).await {
                let Some(row) = rows.first() else { return };
                let pid = row.get::<_, i32>(0).to_string();
                let killed = std::process::Command::new("kill").args(["-KILL", &pid]).status();
                assert!(killed.unwrap().success());
                let _ = ended.await.unwrap();
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The server ends all its sessions and recovers when one of its processes dies, as when memory runs out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_loses_a_process_is_used_again_when_it_has_recovered() {
    let cluster = Cluster::start();
    let scratch = Scratch::on(cluster.url.clone());
    let store = scratch.store().await;
    let id = workflow("a");
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        kill_a_session(&cluster.url).await;
        let step = Begin { step: times("step", round), ..begin(&id, "step", take("me")) };
        let record = loop {
            let begun = match store.begin(&step).await {
                Ok(Begun::Completed { record }) => break record,
                Ok(Begun::Pending { record, .. }) => {
                    store.begin(&Begin { restart: Some(record.version), ..step.clone() }).await
                }
                begun => begun,
            };
            let done = match begun {
                Ok(begun) => store.complete(&fresh(begun), Entry::done(payload("x"))).await,
                Err(error) => Err(error),
            };
            match done {
                Ok(settled) => break settled.record,
                Err(error) => assert!(unreachable(&error), "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        acknowledged.push((step, record));
    }
    for (step, record) in acknowledged {
        let begun = store.begin(&step).await.unwrap();
        assert!(
            matches!(&begun, Begun::Completed { record: kept } if *kept == record),
            "{begun:?}"
        );
    }
    assert_eq!(store.verify(&id).await.unwrap().findings, []);
    assert_eq!(store.summary(&id).await.unwrap().unwrap().pending, 0);
}

/// Without the override the server would forget what it had not written yet when it is killed.
#[tokio::test]
async fn a_setting_that_answers_before_the_disk_is_overridden() {
    let cluster = Cluster::start();
    let scratch = Scratch::on(cluster.url.clone());
    cluster.set("synchronous_commit = off\nwal_writer_delay = 10s");
    let admin = client(&cluster.url).await;
    let store = scratch.store().await;
    let id = workflow("a");
    done(&store, &id, "pay", "me").await;
    // A write of somebody else, who does not insist, shows that something would have been lost.
    admin.batch_execute("CREATE TABLE theirs (n integer); CHECKPOINT").await.unwrap();
    done(&store, &id, "ship", "me").await;
    admin.batch_execute("INSERT INTO theirs VALUES (1)").await.unwrap();
    cluster.kill();
    cluster.restart();
    for step in ["pay", "ship"] {
        assert!(matches!(
            store.begin(&begin(&id, step, take("me"))).await.unwrap(),
            Begun::Completed { .. }
        ));
    }
    let admin = client(&cluster.url).await;
    let theirs = admin.query_one("SELECT count(*) FROM theirs", &[]).await.unwrap();
    assert_eq!(theirs.get::<_, i64>(0), 0, "the server did not wait for the disk by itself");
}

#[tokio::test]
async fn connections_that_a_restart_closed_are_not_noticed() {
    let cluster = Cluster::start();
    let scratch = Scratch::on(cluster.url.clone());
    let store = scratch.store().await;
    let id = workflow("a");
    // Several idle connections.
    let mut busy = Vec::new();
    for _ in 0..4 {
        busy.push(store.pool().get().await.unwrap());
    }
    drop(busy);
    cluster.stop();
    cluster.restart();
    done(&store, &id, "pay", "me").await;
    // And one that is closed by the operator, at a time when nobody looks.
    let admin = client(&cluster.url).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'buttress'";
    admin.query(end, &[]).await.unwrap();
    done(&store, &id, "ship", "me").await;
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_its_connections_are_not_used_again() {
    let cluster = Cluster::start();
    let scratch = Scratch::on(cluster.url.clone());
    let patient = scratch.store().await;
    let id = workflow("a");
    let ticket = fresh(patient.begin(&begin(&id, "pay", take("me"))).await.unwrap());
    // Enough to connect, however busy the machine is.
    let some = Duration::from_secs(3);
    let store = scratch.options().timeout(some).connect(&cluster.url).await.unwrap();
    let blocker = scratch.client().await;
    blocker.batch_execute("BEGIN; SELECT FROM workflow FOR UPDATE").await.unwrap();
    let error = store.complete(&ticket, Entry::done(payload("x"))).await.unwrap_err();
    assert!(unreachable(&error), "{error:?}");
    assert_eq!(store.pool().status().size, 0, "it would wait behind that write");
    // A connection of its own: what another waits for holds nobody up.
    assert_eq!(store.summary(&id).await.unwrap().unwrap().pending, 1);
    blocker.batch_execute("COMMIT").await.unwrap();
    // Now the server may do what it was asked, or not, if it saw that nobody listens any more.
    let settled = store.complete(&ticket, Entry::done(payload("x"))).await.unwrap();
    assert_eq!(settled.record.payload, payload("x"));
    assert_eq!(settled.record.version, 2);
    assert_eq!(store.verify(&id).await.unwrap().findings, []);
}

#[tokio::test]
async fn a_server_that_does_not_sync_is_refused() {
    let cluster = Cluster::start();
    let scratch = Scratch::on(cluster.url.clone());
    cluster.set("fsync = off");
    let error = scratch.options().connect(&cluster.url).await.unwrap_err();
    assert!(error.to_string().contains("fsync is off"), "{error}");
    let store = scratch.options().fsync_off_is_safe().connect(&cluster.url).await.unwrap();
    done(&store, &workflow("a"), "pay", "me").await;
}
