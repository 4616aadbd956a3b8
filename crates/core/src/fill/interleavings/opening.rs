//! Who leads, who waits, and who is promoted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::future::{block_on, spawn, yield_now};

use super::super::{Asker, FillEntry, Fills, Spool};
use super::{CheckedDraft, DIGEST, ORIGIN, TOTAL, all, explore};
use crate::error::Failure;
use crate::platform::Moment;
use crate::single_flight::SingleFlight;
use crate::upstream::Negative;

const NOW: Moment = Moment(std::time::Duration::ZERO);

fn spool() -> Arc<Spool> {
    Arc::new(Spool::new(DIGEST.clone(), TOTAL as u64, ORIGIN.into(), CheckedDraft::new()))
}

fn asker(upstream: &str) -> Asker {
    Asker { upstream: upstream.into(), credential: [0; 16] }
}

/// What becomes of one who wants the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It led, and fetches the whole.
    Led,
    /// It fetches the whole into what a range has opened.
    Drives,
    Joined,
    Refused,
    Passes,
}

/// What a leader does.
#[derive(Clone, Copy)]
enum Leader {
    Opens,
    Fails,
    /// Cannot share it.
    Passes,
    /// Goes away without a word.
    Vanishes,
}

async fn want(fills: Arc<Fills>, leads: Arc<AtomicUsize>, leader: Leader) -> End {
    want_from(fills, leads, leader, ORIGIN).await
}

async fn want_from(fills: Arc<Fills>, leads: Arc<AtomicUsize>, leader: Leader, upstream: &str) -> End {
    match fills.enter(&DIGEST, &asker(upstream), NOW).await {
        FillEntry::Open(spool) if spool.begin_run() => End::Drives,
        FillEntry::Open(_) => End::Joined,
        FillEntry::Refused(_) => End::Refused,
        FillEntry::Pass => End::Passes,
        FillEntry::Lead(lead) => {
            assert_eq!(leads.fetch_add(1, Ordering::Relaxed), 0, "two lead at once");
            yield_now().await;
            leads.fetch_sub(1, Ordering::Relaxed);
            match leader {
                Leader::Opens => {
                    let begun = spool();
                    begun.begin_run();
                    let opened = lead.open(&begun, NOW);
                    if !Arc::ptr_eq(&opened, &begun) && !opened.begin_run() {
                        return End::Joined;
                    }
                }
                Leader::Passes => lead.pass(),
                Leader::Fails => lead.fail(Negative::Failed(Failure::TimedOut)),
                Leader::Vanishes => drop(lead),
            }
            End::Led
        }
    }
}

fn count(ends: &[End], wanted: End) -> usize {
    ends.iter().filter(|end| **end == wanted).count()
}

#[test]
fn one_leads_and_all_others_join() {
    explore(500, || {
        let (fills, leads) = (Arc::<Fills>::default(), Arc::default());
        let tasks = [0; 4].map(|_| spawn(want(Arc::clone(&fills), Arc::clone(&leads), Leader::Opens)));
        let ends = block_on(all(tasks.into()));
        assert_eq!((count(&ends, End::Led), count(&ends, End::Joined)), (1, 3));
    });
}

#[test]
fn a_leader_that_vanishes_promotes_one_who_waits() {
    explore(500, || {
        let (fills, leads) = (Arc::<Fills>::default(), Arc::default());
        let leaders = [Leader::Vanishes, Leader::Opens, Leader::Vanishes, Leader::Opens];
        let tasks = leaders.map(|leader| spawn(want(Arc::clone(&fills), Arc::clone(&leads), leader)));
        let ends = block_on(all(tasks.into()));
        assert_eq!(count(&ends, End::Refused), 0);
        assert!(fills.find(&DIGEST, ORIGIN, NOW).is_some(), "one of them has opened it: {ends:?}");
    });
}

#[test]
fn a_task_that_is_stopped_anywhere_leaves_nobody_waiting() {
    explore(500, || {
        let fills = Arc::<Fills>::default();
        // Not counted: a stopped task cannot say that it leads no more.
        let stopped = [0; 2].map(|_| spawn(want(Arc::clone(&fills), Arc::default(), Leader::Opens)));
        let stays = [0; 2].map(|_| spawn(want(Arc::clone(&fills), Arc::default(), Leader::Opens)));
        let handles = stopped.each_ref().map(shuttle::future::JoinHandle::abort_handle);
        let hand = spawn(async move { handles.each_ref().map(shuttle::future::AbortHandle::abort) });
        let ends = block_on(async {
            hand.await.unwrap();
            all(stays.into()).await
        });
        assert_eq!(count(&ends, End::Refused), 0);
        assert!(fills.find(&DIGEST, ORIGIN, NOW).is_some());
    });
}

#[test]
fn an_upstream_that_fails_is_asked_twice_and_everybody_hears_of_it() {
    explore(500, || {
        let (fills, leads) = (Arc::<Fills>::default(), Arc::default());
        let tasks = [0; 4].map(|_| spawn(want(Arc::clone(&fills), Arc::clone(&leads), Leader::Fails)));
        let ends = block_on(all(tasks.into()));
        assert_eq!(count(&ends, End::Joined), 0);
        assert!(count(&ends, End::Led) >= 1);
        assert!(fills.under_way().is_empty(), "nothing is left behind");
    });
}

#[test]
fn an_upstream_that_fails_is_no_reason_to_refuse_the_clients_of_another() {
    explore(400, || {
        let (fills, leads) = (Arc::<Fills>::default(), Arc::default());
        let fail = |_| spawn(want_from(Arc::clone(&fills), Arc::clone(&leads), Leader::Fails, "dead.test"));
        let tasks = [0; 3].map(fail);
        // Each upstream has a leader of its own.
        let other = spawn(want(Arc::clone(&fills), Arc::default(), Leader::Opens));
        let ends = block_on(async {
            let other = other.await.unwrap();
            let mut ends = all(tasks.into()).await;
            ends.push(other);
            ends
        });
        assert_eq!(ends.last(), Some(&End::Led), "{ends:?}");
    });
}

#[test]
fn what_cannot_be_shared_is_waited_for_by_nobody() {
    explore(400, || {
        let (fills, leads) = (Arc::<Fills>::default(), Arc::default());
        let tasks = [0; 4].map(|_| spawn(want(Arc::clone(&fills), Arc::clone(&leads), Leader::Passes)));
        let ends = block_on(all(tasks.into()));
        assert_eq!(count(&ends, End::Led) + count(&ends, End::Passes), 4, "{ends:?}");
        assert!(fills.under_way().is_empty());
    });
}

#[test]
fn a_range_that_opens_it_first_lets_those_who_wait_join() {
    explore(400, || {
        let (fills, leads) = (Arc::<Fills>::default(), Arc::default());
        let wholes = [0; 3].map(|_| spawn(want(Arc::clone(&fills), Arc::clone(&leads), Leader::Opens)));
        let range = {
            let fills = Arc::clone(&fills);
            spawn(async move {
                fills.open(&spool(), NOW);
            })
        };
        let ends = block_on(async {
            range.await.unwrap();
            all(wholes.into()).await
        });
        assert_eq!(count(&ends, End::Led) + count(&ends, End::Drives), 1, "one fetches it: {ends:?}");
        assert!(fills.find(&DIGEST, ORIGIN, NOW).is_some());
    });
}

#[test]
fn work_that_many_ask_for_is_done_once_at_a_time_and_all_are_told() {
    explore(400, || {
        let flights: Arc<SingleFlight<&str, usize>> = Arc::new(SingleFlight::new(true));
        let under_way = Arc::new(AtomicUsize::new(0));
        let ask = |is_stopped: bool| {
            let (flights, under_way) = (Arc::clone(&flights), Arc::clone(&under_way));
            spawn(async move {
                let work = || async {
                    if is_stopped {
                        return std::future::pending().await;
                    }
                    assert_eq!(under_way.fetch_add(1, Ordering::Relaxed), 0, "the same work twice at once");
                    yield_now().await;
                    under_way.fetch_sub(1, Ordering::Relaxed);
                    7
                };
                flights.join(&"key", work).await
            })
        };
        let (stopped, stays) = (ask(true), [0; 3].map(|_| ask(false)));
        let abort = stopped.abort_handle();
        let hand = spawn(async move { abort.abort() });
        let values = block_on(async {
            hand.await.unwrap();
            all(stays.into()).await
        });
        assert_eq!(values, [7; 3]);
    });
}
