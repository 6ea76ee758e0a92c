//! What a service that is not ready does to a step.

use buttress_sim::probe::Readiness;
use tokio::time::timeout;

use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_done_is_answered_while_the_tool_is_down() {
    for effects in ALL {
        let (store, tool) = (MemoryStore::new(), Tool::new());
        once(store.clone(), effects, &tool).await.unwrap();
        // It hangs.
        tool.handle.block();
        assert_eq!(once(store.clone(), effects, &tool).await, Ok(5));
        tool.handle.unblock();
        // It fails.
        tool.handle.readiness([Readiness::Fail(Verdict::transient())]);
        assert_eq!(once(store, effects, &tool).await, Ok(5));
        tool.handle.assert_idle();
        assert_eq!(tool.calls(), 1, "{effects:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_reached_leaves_no_trace() {
    for effects in ALL {
        let (store, tool) = (MemoryStore::new(), Tool::new());
        tool.handle.readiness([Readiness::Fail(Verdict::transient())]);
        let failed = once(store.clone(), effects, &tool).await;
        assert_eq!(failed, Err(ProbeError::Unready(Verdict::transient())));
        // It fails later.
        tool.handle.readiness([Readiness::Pending, Readiness::Fail(Verdict::transient())]);
        let (failed, ()) = tokio::join!(once(store.clone(), effects, &tool), async {
            tokio::time::sleep(SECOND).await;
            tool.handle.wake();
        });
        assert_eq!(failed, Err(ProbeError::Unready(Verdict::transient())));
        // Its caller gives up.
        tool.handle.block();
        timeout(SECOND, once(store.clone(), effects, &tool)).await.unwrap_err();
        assert_eq!(statuses(&store).await, [], "{effects:?}");
        tool.handle.unblock();
        assert_eq!(once(store, effects, &tool).await, Ok(5));
        tool.handle.assert_idle();
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_becomes_ready_is_called() {
    for effects in ALL {
        let (store, tool) = (MemoryStore::new(), Tool::new());
        tool.handle.block();
        let call = tokio::spawn({
            let (store, tool) = (store.clone(), tool.clone());
            async move { once(store, effects, &tool).await }
        });
        tokio::time::sleep(SECOND).await;
        assert_eq!(statuses(&store).await, []);
        tool.handle.unblock();
        assert_eq!(call.await.unwrap(), Ok(5));
        tool.handle.assert_idle();
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_asked_about_a_doubt_may_use_the_permit() {
    use buttress::checkpoint::Landing;

    let store = MemoryStore::new();
    let mut tool = Tool::new();
    tool.probe = ProbeService::new(1);
    tool.handle = tool.probe.handle();
    tool.handle.script([Act::Hang]);
    timeout(SECOND, once(store.clone(), FAIL, &tool)).await.unwrap_err();
    tokio::time::sleep(60 * SECOND).await;
    // The world is asked through the same service, which has room for one.
    let probe = tool.probe.clone();
    let layer = CheckpointLayer::new(store, FAIL).probe(move |_: &Step<u64>, _| {
        let probe = probe.clone();
        async move {
            let reply = probe.oneshot(ProbeRequest::new(7)).await?;
            Ok::<_, ProbeError>(Landing::Landed(reply.id()))
        }
    });
    let landed = layer.layer(tool.service()).oneshot(charge(5));
    assert_eq!(timeout(SECOND, landed).await.expect("it is not stuck"), Ok(7));
}
