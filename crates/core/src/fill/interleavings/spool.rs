//! Writers, readers and the hash around one spool.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::{Either, select};
use shuttle::future::{block_on, spawn, yield_now};

use super::super::hashing::{HashStage, Hashing};
use super::super::spool::{Phase, Spool};
use super::super::{Claim, Fills, RangePatience, SpoolReader};
use super::{CONTENT, CheckedDraft, DIGEST, OPEN, ORIGIN, ShuttleTasks, TOTAL, all, explore};
use crate::body::Body;
use crate::platform::{Draft, Moment};

/// Where the pieces of the content begin and end.
const PIECES: [(usize, usize); 4] = [(0, 1000), (1000, OPEN + 500), (OPEN + 500, 40_000), (40_000, TOTAL)];

fn spool(draft: &Arc<CheckedDraft>) -> Arc<Spool> {
    Arc::new(Spool::new(DIGEST.clone(), TOTAL as u64, ORIGIN.into(), Arc::clone(draft) as Arc<dyn Draft>))
}

/// What a reader gets, and whether it ends as it should.
async fn read(spool: &Arc<Spool>, run: u64, first: usize, end: usize) -> (Vec<u8>, bool) {
    let mut body = Body::frames(
        SpoolReader::new(Arc::clone(spool), run, first as u64, end as u64, None),
        Some((end - first) as u64),
    );
    let mut bytes = Vec::new();
    while let Some(piece) = body.chunk().await {
        let Ok(piece) = piece else { return (bytes, false) };
        bytes.extend_from_slice(&piece);
    }
    (bytes, true)
}

/// Writes some pieces, as one connection of a fill does.
async fn write(spool: &Spool, hash: &Hashing, content: &Bytes, pieces: &[(usize, usize)]) -> bool {
    for (first, end) in pieces {
        if spool.write(*first as u64, &content.slice(*first..*end), Some(hash)).await.is_err() {
            return false;
        }
    }
    true
}

fn hashing() -> Hashing {
    Hashing::new(&DIGEST, Arc::new(ShuttleTasks)).unwrap()
}

/// A run as `drive` does it, on two connections whose bytes overlap.
async fn run(spool: Arc<Spool>, fills: Arc<Fills>, content: Bytes, verified: Arc<AtomicBool>) {
    let hash = Arc::new(hashing());
    let connections = [&PIECES[..3], &PIECES[1..]].map(|pieces| {
        let (spool, hash, content) = (Arc::clone(&spool), Arc::clone(&hash), content.clone());
        spawn(async move { write(&spool, &hash, &content, pieces).await })
    });
    {
        let writing = pin!(all(connections.into()));
        let hashing = pin!(spool.hash_along(&hash));
        match select(writing, hashing).await {
            Either::Left((written, hashing)) => {
                if !written.iter().all(|is_written| *is_written) || spool.phase() == Phase::Lost {
                    fills.close(&spool);
                    spool.end_run(Phase::Lost);
                    return;
                }
                // Others may fetch the rest.
                hashing.await.expect("the draft can be read");
            }
            Either::Right((hashed, writing)) => {
                hashed.expect("the draft can be read");
                assert!(spool.is_complete(), "the hash is over before the last write");
                assert_eq!(writing.await, [true, true]);
            }
        }
    }
    assert_eq!(hash.stage(), HashStage::Free(TOTAL as u64));
    if Arc::into_inner(hash).expect("the connections are over").is(&DIGEST) {
        verified.store(true, Ordering::Relaxed);
        spool.end_run(Phase::Whole);
        spool.commit().await.expect("it is right");
    } else {
        spool.end_run(Phase::Wrong);
    }
}

#[test]
fn every_reader_gets_every_byte_once_and_the_end_only_when_it_is_verified() {
    explore(500, || {
        let draft = CheckedDraft::new();
        let (spool, verified) = (spool(&draft), Arc::new(AtomicBool::new(false)));
        assert!(spool.begin_run());
        let readers = [(0, TOTAL), (500, TOTAL), (OPEN - 10, OPEN)].map(|(first, end)| {
            let (spool, verified) = (Arc::clone(&spool), Arc::clone(&verified));
            spawn(async move {
                let (bytes, is_right) = read(&spool, spool.run_of_reader(false), first, end).await;
                assert!(is_right && bytes == CONTENT[first..end], "{} bytes", bytes.len());
                assert!(end <= OPEN || verified.load(Ordering::Relaxed), "the end before its time");
            })
        });
        let running = spawn(run(spool, Arc::default(), CONTENT.clone(), verified));
        block_on(async { all(readers.into_iter().chain([running]).collect()).await });
        assert!(draft.is_committed());
    });
}

#[test]
fn wrong_bytes_end_short_for_everybody_and_are_never_committed() {
    explore(400, || {
        let draft = CheckedDraft::new();
        let spool = spool(&draft);
        assert!(spool.begin_run());
        let mut wrong = CONTENT.to_vec();
        wrong[TOTAL - 1] ^= 1;
        let readers = [0, 700].map(|first| {
            let spool = Arc::clone(&spool);
            spawn(async move {
                let (bytes, is_right) = read(&spool, spool.run_of_reader(false), first, TOTAL).await;
                assert!(!is_right && bytes.len() <= OPEN - first, "{} bytes of wrong ones", bytes.len());
                assert_eq!(bytes, CONTENT[first..first + bytes.len()]);
            })
        });
        let running = spawn(run(spool, Arc::default(), wrong.into(), Arc::default()));
        block_on(async { all(readers.into_iter().chain([running]).collect()).await });
        assert!(!draft.is_committed());
    });
}

#[test]
fn a_store_that_fails_lets_everybody_go() {
    explore(400, || {
        let draft = CheckedDraft::broken_from(30_000);
        let spool = spool(&draft);
        assert!(spool.begin_run());
        let readers = [0, 10].map(|first| {
            let spool = Arc::clone(&spool);
            spawn(async move {
                let (bytes, is_right) = read(&spool, spool.run_of_reader(false), first, TOTAL).await;
                assert!(!is_right && bytes == CONTENT[first..first + bytes.len()]);
            })
        });
        let running = spawn(run(spool, Arc::default(), CONTENT.clone(), Arc::default()));
        block_on(async { all(readers.into_iter().chain([running]).collect()).await });
        assert!(!draft.is_committed());
    });
}

#[test]
fn a_run_that_breaks_off_lets_its_readers_go_and_the_next_goes_on() {
    explore(400, || {
        let draft = CheckedDraft::new();
        let spool = spool(&draft);
        assert!(spool.begin_run());
        let first_run = spool.run_of_reader(false);
        let readers = [0, 1].map(|at| {
            let spool = Arc::clone(&spool);
            spawn(async move {
                let (bytes, is_right) = read(&spool, first_run, at, TOTAL).await;
                assert!(bytes == CONTENT[at..at + bytes.len()] && (!is_right || bytes.len() == TOTAL - at));
            })
        });
        let next = spawn(async move {
            assert!(write(&spool, &hashing(), &CONTENT, &PIECES[..2]).await);
            spool.end_run(Phase::Idle);
            yield_now().await;
            assert!(spool.begin_run());
            let reader = {
                let spool = Arc::clone(&spool);
                spawn(async move { read(&spool, spool.run_of_reader(false), 0, TOTAL).await })
            };
            run(spool, Arc::default(), CONTENT.clone(), Arc::default()).await;
            let (bytes, is_right) = reader.await.unwrap();
            assert!(is_right && bytes == *CONTENT);
        });
        block_on(async { all(readers.into_iter().chain([next]).collect()).await });
        assert!(draft.is_committed());
    });
}

#[test]
fn a_run_has_one_owner() {
    explore(500, || {
        let spool = spool(&CheckedDraft::new());
        let owners = Arc::new(AtomicUsize::new(0));
        let tasks = [0, 1, 2].map(|_| {
            let (spool, owners) = (Arc::clone(&spool), Arc::clone(&owners));
            spawn(async move {
                if spool.begin_run() {
                    assert_eq!(owners.fetch_add(1, Ordering::Relaxed), 0, "two runs at once");
                    yield_now().await;
                    owners.fetch_sub(1, Ordering::Relaxed);
                    spool.end_run(Phase::Idle);
                }
            })
        });
        block_on(all(tasks.into()));
        assert_eq!(spool.phase(), Phase::Idle);
        assert!((1..=3).contains(&spool.run_of_reader(false)));
    });
}

/// Brings what a range has claimed, until another takes over.
async fn bring(spool: Arc<Spool>, claims: Vec<Claim>) {
    for claim in claims {
        let mut position = claim.first;
        while position < claim.reach(position) {
            let from = usize::try_from(position).unwrap();
            let piece = CONTENT.slice(from..TOTAL.min(from + 9000));
            spool.write(position, &piece, None).await.expect("the store takes it");
            position += piece.len() as u64;
        }
    }
}

#[test]
fn ranges_and_a_run_share_the_work() {
    explore(400, || {
        let draft = CheckedDraft::new();
        let spool = spool(&draft);
        let now = Moment(std::time::Duration::ZERO);
        let ranges = [(200, 20_000), (100, 50_000)].map(|(first, end)| {
            let claims = spool.claim_range(first, end, now, RangePatience::Waits);
            spawn(bring(Arc::clone(&spool), claims))
        });
        assert!(spool.begin_run());
        let reader = {
            let spool = Arc::clone(&spool);
            spawn(async move {
                let (bytes, is_right) = read(&spool, spool.run_of_reader(false), 0, TOTAL).await;
                assert!(is_right && bytes == *CONTENT);
            })
        };
        let running = spawn(run(spool, Arc::default(), CONTENT.clone(), Arc::default()));
        block_on(async { all(ranges.into_iter().chain([reader, running]).collect()).await });
        assert!(draft.is_committed());
    });
}

#[test]
fn ranges_that_wait_for_one_that_leaves_hear_of_it() {
    explore(500, || {
        let draft = CheckedDraft::new();
        let spool = spool(&draft);
        let now = Moment(std::time::Duration::ZERO);
        let leaves = spool.claim_range(500, 40_000, now, RangePatience::Waits);
        let waits = [500, 30_000].map(|first: usize| {
            let spool = Arc::clone(&spool);
            spawn(async move {
                let claims = spool.claim_range(first as u64, 40_000, now, RangePatience::Waits);
                let brings = claims.first().is_some_and(|claim| claim.first == first as u64);
                bring(Arc::clone(&spool), claims).await;
                let (bytes, is_right) = read(&spool, 0, first, 40_000).await;
                assert_eq!(bytes, CONTENT[first..first + bytes.len()]);
                assert!(is_right || !brings);
            })
        });
        let leaving = spawn(async move {
            yield_now().await;
            drop(leaves);
        });
        block_on(async { all(waits.into_iter().chain([leaving]).collect()).await });
    });
}

#[test]
fn a_store_that_fails_while_the_upstream_does_leaves_no_hole() {
    explore(300, || {
        let draft = CheckedDraft::broken_from(1000);
        let spool = spool(&draft);
        assert!(spool.begin_run());
        let writer = {
            let spool = Arc::clone(&spool);
            spawn(
                async move { spool.write(500, &CONTENT.slice(500..2000), None).await.is_err() && spool.is_dead() },
            )
        };
        let other = {
            let spool = Arc::clone(&spool);
            // The bytes that are there split this write in two, and the first fails.
            spawn(async move {
                let _ = spool.write(1500, &CONTENT.slice(1500..1600), None).await;
                spool.write(1000, &CONTENT.slice(1000..40_000), None).await.is_err()
            })
        };
        let breaks = {
            let spool = Arc::clone(&spool);
            spawn(async move { spool.end_run(Phase::Idle) })
        };
        block_on(async {
            breaks.await.unwrap();
            let (writer, other) = (writer.await.unwrap(), other.await.unwrap());
            assert!(writer || other, "somebody heard of it");
        });
        assert!(spool.is_dead() && !spool.begin_run(), "the store's failure stays, and nobody goes on with it");
    });
}
