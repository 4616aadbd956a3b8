//! Receivers that fail, and what becomes of their events.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use http::{Response, StatusCode};
use registry_proxy_core::Body;
use registry_proxy_core::platform::{Outgoing, Transport, TransportError};
use registry_proxy_core::secret::Secret;
use tokio::time::Instant;

use super::*;

/// A receiver that answers so, one after the other, and then with 200; 0: never.
struct Scripted {
    statuses: Mutex<VecDeque<u16>>,
    asked: Mutex<Vec<(String, String, Duration)>>,
    began: Instant,
}

impl Scripted {
    fn new(statuses: impl IntoIterator<Item = u16>) -> Arc<Self> {
        let statuses = Mutex::new(statuses.into_iter().collect());
        Arc::new(Self { statuses, asked: Mutex::default(), began: Instant::now() })
    }

    /// When it was asked, in seconds.
    fn times(&self) -> Vec<u64> {
        self.asked.lock().unwrap().iter().map(|(_, _, after)| after.as_secs()).collect()
    }
}

#[async_trait]
impl Transport for Scripted {
    async fn send(&self, outgoing: Outgoing) -> Result<Response<Body>, TransportError> {
        let headers = outgoing.request.into_parts().0.headers;
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        let asked = (header("webhook-id"), header("webhook-signature"), self.began.elapsed());
        self.asked.lock().unwrap().push(asked);
        let status = self.statuses.lock().unwrap().pop_front().unwrap_or(200);
        if status == 0 {
            return std::future::pending().await;
        }
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(response)
    }
}

fn sender(receiver: &Arc<Scripted>) -> Sender {
    Sender {
        uri: "https://hooks.test/".parse().unwrap(),
        key: signature::Key::new(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap(),
        transport: Arc::clone(receiver) as Arc<_>,
        index: 0,
    }
}

fn down() -> Notification {
    Notification::UpstreamDown { upstream: "docker.io".into(), why: "no answer in time".into() }
}

async fn deliver(receiver: &Arc<Scripted>) -> Result<(), String> {
    sender(receiver).deliver(&CloudEvent::new(&down(), "/registry-proxy")).await
}

#[tokio::test(start_paused = true)]
async fn an_event_is_sent_again_with_the_same_id_after_longer_and_longer_pauses() {
    let receiver = Scripted::new([503, 429, 0, 500]);
    assert_eq!(deliver(&receiver).await, Ok(()));
    // An attempt without an answer takes fifteen seconds, and the pauses are 1, 2, 4 and 8.
    assert_eq!(receiver.times(), [0, 1, 3, 22, 30]);
    let asked = receiver.asked.lock().unwrap();
    assert!(asked.iter().all(|(id, _, _)| *id == asked[0].0));
}

#[tokio::test(start_paused = true)]
async fn an_event_is_given_up_after_ten_minutes_or_when_the_receiver_will_never_take_it() {
    let receiver = Scripted::new([502; 100]);
    assert_eq!(deliver(&receiver).await, Err("the receiver answered 502 Bad Gateway".to_owned()));
    let last = receiver.times().pop().unwrap();
    assert!((540..=600).contains(&last), "{last}");
    let receiver = Scripted::new([404]);
    assert_eq!(deliver(&receiver).await, Err("the receiver answered 404 Not Found".to_owned()));
    assert_eq!(receiver.times(), [0]);
}

/// Events with one receiver, whose task runs.
fn events(receiver: &Arc<Scripted>, on: &[EventKind]) -> Events {
    let (queue, queued) = mpsc::channel(MAX_QUEUED);
    let losses = Arc::new(Losses::default());
    let name = "https://hooks.test/".to_owned();
    tokio::spawn(send_all(sender(receiver), queued, name.clone(), Arc::clone(&losses)));
    let events = Events::default();
    let all = vec![Receiver { name, on: on.to_vec(), queue, losses }];
    events.tell(Receivers { all, source: String::new() });
    events
}

#[tokio::test(start_paused = true)]
async fn a_receiver_gets_the_events_that_it_names_and_no_others() {
    let receiver = Scripted::new([]);
    let events = events(&receiver, &[EventKind::UpstreamDown]);
    assert!(events.wants(EventKind::UpstreamDown) && !events.wants(EventKind::UpstreamUp));
    events.notify(down());
    events.notify(Notification::UpstreamUp { upstream: "docker.io".into(), down_seconds: 1 });
    events.flush(Duration::from_secs(5)).await;
    assert_eq!(receiver.times().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_down_holds_a_bounded_number_of_events_and_gets_later_ones_again() {
    let receiver = Scripted::new([503; 30]);
    let events = events(&receiver, EventKind::ALL);
    for _ in 0..MAX_QUEUED + 50 {
        events.notify(down());
    }
    let losses = Arc::clone(&events.receivers.load().all[0].losses);
    assert_eq!(losses.0.load(Ordering::Relaxed), 50);
    assert_eq!(*events.unsent.0.borrow(), MAX_QUEUED);
    events.flush(Duration::from_hours(1)).await;
    assert_eq!(*events.unsent.0.borrow(), 0);
    assert_eq!(losses.0.load(Ordering::Relaxed), 0, "told in the log");
}
