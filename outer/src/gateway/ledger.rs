//! What passed the gateway, and what was broken.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Outcome;
use crate::failure::ensure;

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Target,
    RequestHeaders,
    RequestBody,
    AnswerHeaders,
    WholeBody,
    StreamedBody,
    Wall,
    Event,
    Answer,
}

/// A rule that was broken.
#[derive(Debug, Clone)]
pub struct Breach {
    pub limit: Limit,
    /// By which request.
    pub request: String,
    pub detail: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}: {}", self.limit, self.request, self.detail)
    }
}

/// A request that was answered.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub method: String,
    pub path: String,
    pub status: u16,
    /// Bytes of the body that passed through the function.
    pub bytes: u64,
}

/// Both, in order.
#[derive(Default)]
pub struct Ledger {
    breaches: Mutex<Vec<Breach>>,
    exchanges: Mutex<Vec<Exchange>>,
}

impl Ledger {
    pub fn breaches(&self) -> Vec<Breach> {
        hold(&self.breaches).clone()
    }

    pub fn exchanges(&self) -> Vec<Exchange> {
        hold(&self.exchanges).clone()
    }

    /// Bytes that passed through the function.
    pub fn bytes(&self) -> u64 {
        hold(&self.exchanges).iter().map(|exchange| exchange.bytes).sum()
    }

    /// How many requests were answered with this status.
    pub fn count(&self, status: u16) -> usize {
        hold(&self.exchanges).iter().filter(|exchange| exchange.status == status).count()
    }

    /// Fails, and names them, where rules were broken.
    pub fn expect_no_breach(&self) -> Outcome {
        let breaches: Vec<String> = self.breaches().iter().map(ToString::to_string).collect();
        ensure(breaches.is_empty(), format_args!("the platform's rules were broken:\n{}", breaches.join("\n")))
    }

    /// Fails where this rule was kept.
    pub fn expect_breach(&self, limit: Limit) -> Outcome {
        let breaches = self.breaches();
        ensure(
            breaches.iter().any(|breach| breach.limit == limit),
            format_args!("{limit:?} was not broken: {breaches:?}"),
        )
    }

    /// Forgets what passed, and nothing of what was broken.
    pub fn turn_page(&self) {
        hold(&self.exchanges).clear();
    }

    pub(super) fn note_breach(&self, limit: Limit, request: &str, detail: impl Into<String>) {
        hold(&self.breaches).push(Breach { limit, request: request.to_owned(), detail: detail.into() });
    }

    pub(super) fn note(&self, exchange: Exchange) {
        hold(&self.exchanges).push(exchange);
    }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
