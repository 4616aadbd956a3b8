//! Limits how often a client may be wrong about a password. It is asked before a password is hashed or sent to a registry, so a
//! guess that is refused here costs one lookup in a table.
//!
//! There are three limits: wrong logins of one address in a minute; a pause that doubles for an address that is wrong about one
//! name again and again; and logins that are checked at once, of which one address gets a part. None is for a user name alone, or
//! a stranger could lock out any user. A login that is refused here does not count as wrong, nor does the same wrong login again,
//! so a client that repeats an old password does not use up the guesses of others behind its address.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::client::Client;
use crate::platform::Moment;

/// Most addresses, and pairs of address and name, that are remembered; the longest unused are forgotten first.
const MAX_REMEMBERED: usize = 10_000;
/// The time over which wrong logins of an address are counted.
const MINUTE: Duration = Duration::from_mins(1);
/// Wrong logins of one pair before there is a pause.
const FREE_TRIES: u32 = 3;
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A pair that was not wrong for this long begins anew.
const FORGIVEN: Duration = Duration::from_mins(10);
/// One address gets this part of the logins that are checked at once.
const PART_OF_ONE: usize = 4;
/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// When to try again while too many logins are being checked.
const SOON: Duration = Duration::from_secs(1);

/// The configured limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct GuessLimits {
    /// Logins that are being checked at once.
    pub(super) at_once: usize,
    /// Wrong logins of one address in a minute; 0: no limit.
    pub(super) wrong_in_a_minute: u32,
}

/// Who tries to log in: the address, where it is known, and the mark of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Pair {
    pub(super) client: Option<Client>,
    pub(super) name: [u8; 16],
}

/// What is remembered of wrong logins.
pub(super) struct Guesses {
    checking: AtomicUsize,
    addresses: Cache<Option<Client>, Arc<Mutex<AddressGuesses>>>,
    pairs: Cache<Pair, Arc<Mutex<Wrongs>>>,
}

impl Default for Guesses {
    fn default() -> Self {
        Self {
            checking: AtomicUsize::new(0),
            addresses: Cache::new(MAX_REMEMBERED),
            pairs: Cache::new(MAX_REMEMBERED),
        }
    }
}

impl Guesses {
    /// Begins the check of a login, or returns when to try again.
    pub(super) fn begin(&self, who: Pair, limits: GuessLimits, now: Moment) -> Result<PendingCheck<'_>, Duration> {
        if let Some(pause) = self.pause_of_pair(who, now) {
            return Err(pause);
        }
        let address = entry(&self.addresses, who.client);
        let mut known = lock(&address);
        if let Some(pause) = known.wrong.pause(limits.wrong_in_a_minute, now) {
            return Err(pause);
        }
        if known.checking >= limits.at_once.div_ceil(PART_OF_ONE) {
            return Err(SOON);
        }
        let take = |count: usize| (count < limits.at_once).then_some(count + 1);
        if self.checking.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Err(SOON);
        }
        known.checking += 1;
        drop(known);
        Ok(PendingCheck { guesses: self, address, who, limits, began: now, is_over: false })
    }

    /// When to try again with a login that is not checked here.
    pub(super) fn pause(&self, who: Pair, limits: GuessLimits, now: Moment) -> Option<Duration> {
        self.pause_of_pair(who, now).or_else(|| {
            let address = self.addresses.get(&who.client)?;
            let wrong = lock(&address).wrong;
            wrong.pause(limits.wrong_in_a_minute, now)
        })
    }

    fn pause_of_pair(&self, who: Pair, now: Moment) -> Option<Duration> {
        let wrongs = self.pairs.get(&who)?;
        lock(&wrongs).pause(now)
    }

    /// Records a wrong login; `login` is the fingerprint of name and password.
    pub(super) fn wrong(&self, who: Pair, login: [u8; 16], limits: GuessLimits, now: Moment) {
        let is_new = lock(&entry(&self.pairs, who)).add(login, now);
        if is_new {
            lock(&entry(&self.addresses, who.client)).wrong.add(limits.wrong_in_a_minute, now);
        }
    }
}

/// A login that is being checked. A client that leaves before the end has tried: the login may have been sent to the registry.
pub(super) struct PendingCheck<'a> {
    guesses: &'a Guesses,
    address: Arc<Mutex<AddressGuesses>>,
    who: Pair,
    limits: GuessLimits,
    began: Moment,
    is_over: bool,
}

impl PendingCheck<'_> {
    /// The login is right, so wrong ones of this name are forgotten.
    pub(super) fn right(mut self) {
        self.is_over = true;
        self.guesses.pairs.remove(&self.who);
    }

    /// The login is wrong; `login` is the fingerprint of name and password.
    pub(super) fn wrong(mut self, login: [u8; 16], now: Moment) {
        self.is_over = true;
        self.guesses.wrong(self.who, login, self.limits, now);
    }

    /// The login could not be checked, so a guess has learned nothing.
    pub(super) fn unknown(mut self) {
        self.is_over = true;
    }
}

impl Drop for PendingCheck<'_> {
    fn drop(&mut self) {
        let mut address = lock(&self.address);
        address.checking = address.checking.saturating_sub(1);
        if !self.is_over {
            address.wrong.add(self.limits.wrong_in_a_minute, self.began);
        }
        self.guesses.checking.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is remembered of an address.
#[derive(Default)]
struct AddressGuesses {
    wrong: Leak,
    /// How many of its logins are being checked.
    checking: usize,
}

/// A leaky bucket that holds one minute's worth.
#[derive(Debug, Default, Clone, Copy)]
struct Leak {
    /// When the bucket will be empty.
    empty_at: Moment,
}

impl Leak {
    /// How long until it takes one more; `None`: it takes one now.
    fn pause(self, in_a_minute: u32, now: Moment) -> Option<Duration> {
        let one = MINUTE.checked_div(in_a_minute)?;
        let pause = (self.empty_at.since(now) + one).saturating_sub(MINUTE);
        (!pause.is_zero()).then_some(pause)
    }

    fn add(&mut self, in_a_minute: u32, now: Moment) {
        let Some(one) = MINUTE.checked_div(in_a_minute) else { return };
        self.empty_at = self.empty_at.max(now).after(one);
    }
}

/// How often a pair was wrong lately.
#[derive(Debug, Default)]
struct Wrongs {
    count: u32,
    last: Moment,
    /// The fingerprint of the last wrong login.
    login: [u8; 16],
}

impl Wrongs {
    fn pause(&self, now: Moment) -> Option<Duration> {
        let doublings = self.count.checked_sub(FREE_TRIES)?;
        let pause =
            1_u32.checked_shl(doublings).map_or(LONGEST_PAUSE, |factor| FIRST_PAUSE.saturating_mul(factor));
        let left = self.last.after(pause.min(LONGEST_PAUSE)).since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Adds a wrong login. Returns whether it is a new guess: clients send the same wrong password several times before they
    /// give up (skopeo five times), and a person who mistyped it must not wait for that.
    fn add(&mut self, login: [u8; 16], now: Moment) -> bool {
        if now.since(self.last) >= FORGIVEN {
            self.count = 0;
        }
        let is_new = self.count == 0 || self.login != login;
        if is_new {
            self.count = self.count.saturating_add(1);
        }
        (self.login, self.last) = (login, now);
        is_new
    }
}

fn entry<K: Eq + std::hash::Hash + Copy, V: Default>(table: &Cache<K, Arc<Mutex<V>>>, key: K) -> Arc<Mutex<V>> {
    table.get(&key).unwrap_or_else(|| {
        let new = Arc::<Mutex<V>>::default();
        table.insert(key, Arc::clone(&new));
        new
    })
}

fn lock<V>(entry: &Mutex<V>) -> MutexGuard<'_, V> {
    entry.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: GuessLimits = GuessLimits { at_once: 8, wrong_in_a_minute: 6 };

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    fn pair(address: u8, name: u8) -> Pair {
        Pair { client: Some(Client::V4(address.into())), name: [name; 16] }
    }

    /// Another password each time.
    fn password() -> [u8; 16] {
        static COUNT: AtomicUsize = AtomicUsize::new(1);
        (COUNT.fetch_add(1, Ordering::Relaxed) as u128).to_ne_bytes()
    }

    /// Is wrong, where it may be; else when to come again, in milliseconds.
    fn guess(guesses: &Guesses, who: Pair, now: Moment) -> Result<(), u128> {
        guesses
            .begin(who, LIMITS, now)
            .map(|check| check.wrong(password(), now))
            .map_err(|pause| pause.as_millis())
    }

    #[test]
    fn an_address_has_so_many_wrong_logins_in_a_minute_whatever_the_names() {
        let guesses = Guesses::default();
        for name in 0..6 {
            assert_eq!(guess(&guesses, pair(1, name), at(0)), Ok(()), "{name}");
        }
        assert_eq!(guess(&guesses, pair(1, 6), at(0)), Err(10_000));
        assert_eq!(guess(&guesses, pair(2, 6), at(0)), Ok(()), "another address");
        assert_eq!(guess(&guesses, pair(1, 6), at(10_000)), Ok(()), "one drains away in ten seconds");
        assert_eq!(guess(&guesses, pair(1, 7), at(10_001)), Err(9_999));
    }

    #[test]
    fn one_name_from_one_address_is_wrong_ever_more_slowly() {
        let guesses = Guesses::default();
        let free = GuessLimits { wrong_in_a_minute: 0, ..LIMITS };
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..11 {
            let pause = match guesses.begin(pair(1, 1), free, now) {
                Ok(check) => {
                    check.wrong(password(), now);
                    Duration::ZERO
                }
                Err(pause) => {
                    now = now.after(pause);
                    guesses.begin(pair(1, 1), free, now).expect("the pause is over").wrong(password(), now);
                    pause
                }
            };
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(guesses.begin(pair(2, 1), free, now).is_ok(), "the same name from elsewhere");
        assert!(guesses.begin(pair(1, 2), free, now).is_ok(), "another name from there");
        let later = now.after(FORGIVEN);
        assert!(
            guess(&guesses, pair(1, 1), later).is_ok() && guess(&guesses, pair(1, 1), later).is_ok(),
            "forgiven"
        );
    }

    #[test]
    fn the_same_wrong_password_again_is_no_new_guess() {
        let guesses = Guesses::default();
        let free = GuessLimits { wrong_in_a_minute: 0, ..LIMITS };
        for _ in 0..20 {
            guesses.begin(pair(1, 1), free, at(0)).expect("no pause").wrong([7; 16], at(0));
        }
        for _ in 0..2 {
            guesses.begin(pair(1, 1), free, at(0)).expect("two more are free").wrong(password(), at(0));
        }
        assert_eq!(guesses.begin(pair(1, 1), free, at(0)).err(), Some(FIRST_PAUSE));
    }

    #[test]
    fn an_old_password_that_is_repeated_leaves_its_neighbours_their_guesses() {
        let guesses = Guesses::default();
        for _ in 0..20 {
            guesses.begin(pair(1, 1), LIMITS, at(0)).expect("no pause").wrong([7; 16], at(0));
        }
        for name in 2..7 {
            assert_eq!(guess(&guesses, pair(1, name), at(0)), Ok(()), "five of six are left");
        }
        assert_eq!(guess(&guesses, pair(1, 7), at(0)), Err(10_000));
    }

    #[test]
    fn a_right_login_ends_the_pauses_of_its_name() {
        let guesses = Guesses::default();
        for _ in 0..3 {
            assert_eq!(guess(&guesses, pair(1, 1), at(0)), Ok(()));
        }
        guesses.begin(pair(1, 1), LIMITS, at(1000)).expect("a second later").right();
        assert_eq!(guess(&guesses, pair(1, 1), at(1000)), Ok(()));
        assert_eq!(guess(&guesses, pair(1, 1), at(1000)), Ok(()));
    }

    #[test]
    fn what_is_refused_here_is_not_counted_as_wrong() {
        let guesses = Guesses::default();
        for _ in 0..100 {
            let _ = guess(&guesses, pair(1, 1), at(0));
        }
        for name in 2..5 {
            assert_eq!(guess(&guesses, pair(1, name), at(0)), Ok(()), "three of six are left for other names");
        }
    }

    #[test]
    fn one_address_has_a_quarter_of_the_places_and_all_together_have_them_all() {
        let guesses = Guesses::default();
        let begin = |address: u8, name: u8| guesses.begin(pair(address, name), LIMITS, at(0));
        let mut all: Vec<PendingCheck<'_>> = (0..2).map(|name| begin(1, name).unwrap()).collect();
        assert_eq!(begin(1, 9).err(), Some(SOON));
        for address in 2..5 {
            all.extend((0..2).map(|name| begin(address, name).unwrap()));
        }
        assert_eq!(begin(5, 0).err(), Some(SOON), "eight are being checked");
        all.pop().unwrap().unknown();
        assert!(begin(5, 0).is_ok(), "a place is free");
    }

    #[test]
    fn whoever_goes_away_has_tried_and_what_nobody_could_say_is_no_try() {
        let guesses = Guesses::default();
        for _ in 0..20 {
            guesses.begin(pair(1, 1), LIMITS, at(0)).expect("nothing is counted").unknown();
        }
        for _ in 0..6 {
            drop(guesses.begin(pair(1, 1), LIMITS, at(0)).expect("one of six"));
        }
        assert_eq!(guesses.begin(pair(1, 1), LIMITS, at(0)).err(), Some(Duration::from_secs(10)));
    }
}
