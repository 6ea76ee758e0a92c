//! Trips are booked at three flaky participants over HTTP: a flight, a hotel, a car.
//!
//! Each is a saga. Prints what became of three trips: of one that is booked in spite of the flaky
//! participants, of one for which the hotel is full, so that the flight is cancelled, and of one whose
//! process is killed while the hotel keeps it waiting, and which another process brings to its
//! end. Real sockets and real time.

use std::{error::Error, fmt, time::Duration};

use buttress::{
    Backoff, Fault, Verdict,
    checkpoint::{Effects, InDoubt, Step},
    http::of_status,
    store::{Journal, MemoryStore},
};
use buttress_flow::saga::{Action, Saga};
use buttress_sim::{Calls, FailKind, Fate, Faults, Rule, Shares, Takes, Tool, When, http::Server};
use http::StatusCode;
use reqwest::Client;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tower::{Service, service_fn};

#[derive(Clone, Serialize, Deserialize)]
struct Trip {
    traveller: String,
    flight: Option<String>,
    hotel: Option<String>,
    car: Option<String>,
}

/// What a participant says, if it does not do what it was asked for.
#[derive(Debug)]
enum Trouble {
    Status(StatusCode),
    Lost(reqwest::Error),
    Garbled(serde_json::Error),
}

impl Fault for Trouble {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Status(status) => of_status(*status, None),
            Self::Lost(error) => error.verdict(),
            // It was done, if only we knew what.
            Self::Garbled(_) => Verdict::transient(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "answered {status}"),
            Self::Lost(error) => write!(f, "no answer: {error}"),
            Self::Garbled(error) => write!(f, "garbled: {error}"),
        }
    }
}

/// Asks a participant, with the idempotency key of the step, and returns its confirmation.
fn desk(
    client: &Client,
    uri: &str,
) -> impl Service<Step<String>, Response = String, Error = Trouble, Future: Send>
+ Clone
+ Send
+ Sync
+ use<> {
    #[derive(Deserialize)]
    struct Answer {
        text: String,
    }
    let (client, uri) = (client.clone(), uri.to_owned());
    service_fn(move |step: Step<String>| {
        let body = serde_json::json!({ "query": step.request }).to_string();
        let mut request = client.post(&uri).body(body);
        if let Some(key) = step.key {
            request = request.header("idempotency-key", key.to_string());
        }
        async move {
            let response = request.send().await.map_err(Trouble::Lost)?;
            if !response.status().is_success() {
                return Err(Trouble::Status(response.status()));
            }
            let bytes = response.bytes().await.map_err(Trouble::Lost)?;
            let Answer { text } = serde_json::from_slice(&bytes).map_err(Trouble::Garbled)?;
            Ok(text)
        }
    })
}

/// Where the participants are.
struct Places {
    flights: String,
    hotels: String,
    cars: String,
}

/// The saga, as each process has it. All share the store.
fn booking(owner: &'static str, store: &MemoryStore, places: &Places) -> Saga<Trip> {
    let client = Client::new();
    let [flights, hotels, cars] =
        [&places.flights, &places.hotels, &places.cars].map(|uri| desk(&client, uri));
    // In doubt it is done again: the participants know a request again by its key.
    let effects = Effects::SideEffect(InDoubt::Retry);
    let flight = Action::new("flight", effects, flights.clone(), |trip: &Trip| {
        format!("a flight for {}", trip.traveller)
    })
    .then(|trip, confirmation| trip.flight = Some(confirmation.clone()))
    .undo(effects, flights, |_, confirmation| format!("cancel: {confirmation}"));
    let hotel = Action::new("hotel", effects, hotels.clone(), |trip: &Trip| {
        format!("a room for {}", trip.traveller)
    })
    .then(|trip, confirmation| trip.hotel = Some(confirmation.clone()))
    .undo(effects, hotels, |_, confirmation| format!("cancel: {confirmation}"));
    let car = Action::new("car", effects, cars.clone(), |trip: &Trip| {
        format!("a car for {}", trip.traveller)
    })
    .then(|trip, confirmation| trip.car = Some(confirmation.clone()))
    .undo(effects, cars, |_, confirmation| format!("cancel: {confirmation}"));
    let journal =
        Journal::new(store.clone()).namespace("trips").owner(owner).ttl(Duration::from_millis(500));
    Saga::new("booking", journal)
        .backoff(Backoff::exponential(Duration::from_millis(5), Duration::from_millis(100)))
        .attempts(8)
        .step(flight)
        .step(hotel)
        .step(car)
}

async fn open(faults: Faults, seed: u64) -> Result<(String, Tool), Box<dyn Error>> {
    let tool = Tool::new(faults, seed);
    let server = Server::on_loopback(tool.clone(), 0).await?;
    let uri = format!("http://{}/call", server.addr()?);
    tokio::spawn(server.run_until(std::future::pending::<()>()));
    Ok((uri, tool))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // 40 % answer 503.
    let flaky = Faults::new(Shares::new(0.4, 0.0)?)
        .fail_kind(FailKind::Unavailable)
        .fast_takes(Takes::seconds(0.001, 0.003)?);
    let full = Fate::Fail { kind: FailKind::BadRequest, after: Duration::from_millis(1).into() };
    let full = flaky.clone().rule(Rule::new(When::Always, full));
    let dozes = flaky.clone().rule(Rule::new(When::Calls(Calls::listed([1])?), Fate::Hang));

    let (flights, flight_desk) = open(flaky.clone(), 3).await?;
    let (hotels, _) = open(flaky.clone(), 5).await?;
    let (cars, _) = open(flaky, 6).await?;
    let places = Places { flights, hotels, cars };
    let store = MemoryStore::new();
    let trip = |traveller: &str| Trip {
        traveller: traveller.into(),
        flight: None,
        hotel: None,
        car: None,
    };

    let report = booking("first", &store, &places).run("ada", trip("Ada")).await?;
    println!("{report}");

    let (hotels, _) = open(full, 5).await?;
    let places = Places { hotels, ..places };
    let report = booking("first", &store, &places).run("bob", trip("Bob")).await?;
    println!("{report}");

    let (hotels, hotel_desk) = open(dozes, 5).await?;
    let places = Places { hotels, ..places };
    let saga = booking("first", &store, &places);
    let killed = timeout(Duration::from_millis(800), saga.run("cleo", trip("Cleo"))).await;
    assert!(killed.is_err(), "the hotel keeps it waiting");
    let asked = (flight_desk.stats().launched, hotel_desk.stats().launched);
    println!("cleo: the process is killed while the hotel is asked");
    let second = booking("second", &store, &places);
    let report = loop {
        // Until the lease of the dead one is over.
        match second.recover().await?.into_iter().next() {
            Some((_, report)) => break report?,
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    println!("{report}");
    let again = (flight_desk.stats().launched, hotel_desk.stats().launched);
    println!(
        "  the second process asked for the flight {} times, for the hotel {} times",
        again.0 - asked.0,
        again.1 - asked.1
    );
    Ok(())
}
