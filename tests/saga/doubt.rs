//! Steps of which nobody knows what came of them.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_with_the_same_key() {
    let world = World::new();
    world.hotels.next([Luck::Vanishes, Luck::Vanishes]);
    let report = world.saga("a", RETRY).run("s1", trip()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!(world.hotels.asked().len(), 3);
    assert_eq!(world.hotels.done().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_undone_past_a_step_in_doubt() {
    let world = World::new();
    world.hotels.next([Luck::Vanishes]);
    let saga = world.saga("a", FAIL);
    let report = saga.run("s1", trip()).await.unwrap();
    assert_eq!((report.outcome, report.finished()), (Outcome::InDoubt, false));
    let in_doubt = [Standing::Done, Standing::InDoubt, Standing::NotReached, Standing::NotReached];
    assert_eq!(standings(&report), in_doubt);
    assert_eq!(report.step("book-hotel").unwrap().error.as_deref(), Some("the tool fails"));
    // It stays so, wherever it is resumed.
    let report = world.saga("b", FAIL).resume("s1").await.unwrap();
    assert_eq!((report.outcome, standings(&report)), (Outcome::InDoubt, in_doubt.to_vec()));
    assert!(report.step("book-hotel").unwrap().error.as_ref().unwrap().contains("is in doubt"));
    assert_eq!(world.hotels.asked().len(), 1);
    assert_eq!(world.flights.done(), ["fly Ada"]);
    // Declared otherwise by a newer program, it is done again.
    let report = world.saga("b", RETRY).resume("s1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!(world.hotels.done().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_doubt_that_another_process_left_is_not_forgotten() {
    let world = World::new();
    world.hotels.next([Luck::Vanishes]);
    world.hotels.always(UNSENT);
    let saga = world.saga("a", RETRY);
    let report = saga.run("s1", trip()).await.unwrap();
    assert_eq!(
        report.outcome,
        Outcome::InDoubt,
        "the last attempts came to nothing, not the first"
    );
    let report = world.saga("b", RETRY).resume("s1").await.unwrap();
    assert_eq!(report.outcome, Outcome::InDoubt, "all attempts of this process came to nothing");
    assert_eq!(world.flights.done(), ["fly Ada"]);
    world.hotels.always(None);
    assert_eq!(saga.resume("s1").await.unwrap().outcome, Outcome::Completed);
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_action_leaves_a_trace_before_it_is_tried() {
    let world = World::new();
    world.hotels.next([Luck::Vanishes]);
    world.hotels.always(UNSENT);
    let report = world.saga("a", Effects::Idempotent).run("s1", trip()).await.unwrap();
    assert_eq!(report.outcome, Outcome::InDoubt);
    assert_eq!(world.flights.done(), ["fly Ada"]);
}

#[tokio::test(start_paused = true)]
async fn the_world_is_asked_about_a_step_in_doubt() {
    for landed in [true, false] {
        let world = World::new();
        world.flights.next([Luck::Vanishes]);
        let tool = world.flights.clone();
        let flight = Action::new("book-flight", FAIL, world.flights.clone(), |trip: &Trip| {
            format!("fly {}", trip.traveller)
        })
        .then(|trip, seat| trip.flight = Some(*seat))
        .probe(move |_, key| {
            let seat = tool.0.lock().unwrap().done.get(&key).map(|(seat, _)| *seat);
            let seat = seat.filter(|_| landed);
            async move { Ok(seat.map_or(Landing::Absent, Landing::Landed)) }
        })
        .undo(RETRY, world.flights.clone(), |_, seat| format!("cancel seat {seat}"));
        let saga = Saga::new("flight", world.journal("a")).step(flight);
        assert_eq!(saga.run("s1", trip()).await.unwrap().outcome, Outcome::InDoubt);
        let report = saga.resume("s1").await.unwrap();
        assert_eq!((report.outcome, report.state.flight), (Outcome::Completed, Some(100)));
        assert_eq!(world.flights.asked().len(), if landed { 1 } else { 2 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_outcome_is_in_doubt_not_undone() {
    let world = World::new();
    world.hotels.next([Luck::Vanishes]);
    let flight = |tool: &Tool| {
        Action::new("book-flight", FAIL, tool.clone(), |_: &Trip| "fly".to_owned()).undo(
            RETRY,
            tool.clone(),
            |_, seat| format!("cancel seat {seat}"),
        )
    };
    let hotel = Action::new("book-hotel", FAIL, world.hotels.clone(), |_: &Trip| String::new());
    let saga = Saga::new("trip", world.journal("a")).step(flight(&world.flights)).harmless(hotel);
    assert_eq!(saga.run("s1", trip()).await.unwrap().outcome, Outcome::InDoubt);
    let workflow = world.journal("a").workflow("s1");
    let found = world.store.latest(&workflow, Some(&"book-flight".into())).await.unwrap().unwrap();
    assert!(world.store.memory.tamper(&workflow, found.record.version, |bytes| bytes[50] ^= 4));
    let report = saga.resume("s1").await.unwrap();
    assert_eq!(standings(&report), [Standing::InDoubt, Standing::NotReached]);
    assert_eq!(world.flights.done(), ["fly"]);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_cannot_be_read_stops_it() {
    let world = World::new();
    world.post.next([PERMANENT]);
    world.hotels.next([Luck::Vanishes]);
    assert_eq!(world.saga("a", FAIL).run("s1", trip()).await.unwrap().outcome, Outcome::InDoubt);
    // A newer program expects a text where the record has a number.
    let text = tower::service_fn(async |_: Step<String>| Ok::<_, Trouble>(String::new()));
    let flight =
        Action::new("book-flight", RETRY, text, |trip: &Trip| format!("fly {}", trip.traveller));
    let again = |name: &'static str| {
        Action::new(name, FAIL, world.hotels.clone(), |_: &Trip| String::new())
    };
    let saga = Saga::new("trip", world.journal("a"))
        .harmless(flight)
        .harmless(again("book-hotel"))
        .pivot(again("invoice"))
        .retriable(again("letter"));
    let report = saga.resume("s1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Interrupted);
    assert!(matches!(report.error, Some(Halt::Unreadable { .. })), "{report}");
}
