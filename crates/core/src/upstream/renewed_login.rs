//! The login of an upstream that its cloud issues: each renewal is made once for all requests that wait for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::login::{Login, LoginSource};
use super::renewal::{RENEWAL_DEADLINE, Renewal, RenewalStep};
use crate::error::Failure;
use crate::platform::{Clock, LoginIssuer, NotIssued, Platform, Tasks, within};
use crate::seal::Sealer;
use crate::single_flight::SingleFlight;

type CurrentLogin = Result<Arc<Login>, Failure>;

/// The login, and what renews it.
pub(super) struct RenewedLogin {
    /// The upstream's place in the configuration, and its name.
    index: usize,
    upstream: String,
    issuer: Arc<dyn LoginIssuer>,
    clock: Arc<dyn Clock>,
    tasks: Arc<dyn Tasks>,
    sealer: Arc<Sealer>,
    renewal: Mutex<Renewal>,
    flight: SingleFlight<(), CurrentLogin>,
}

impl RenewedLogin {
    /// The login of the upstream at this place; `None` where the platform issues none.
    pub(super) fn new(
        index: usize,
        upstream: &str,
        sealer: &Arc<Sealer>,
        platform: &Platform,
    ) -> Option<Arc<Self>> {
        let issuer = Arc::clone(platform.login_issuer.as_ref()?);
        Some(Arc::new(Self {
            index,
            upstream: upstream.to_owned(),
            issuer,
            clock: Arc::clone(&platform.clock),
            tasks: Arc::clone(&platform.tasks),
            sealer: Arc::clone(sealer),
            renewal: Mutex::default(),
            flight: SingleFlight::new(platform.capabilities.shares_io),
        }))
    }

    /// The login to ask with.
    ///
    /// # Errors
    ///
    /// [`Failure::NotLoggedIn`] if there is none, and the identity service issues none.
    pub(super) async fn current(self: &Arc<Self>) -> CurrentLogin {
        let now = self.clock.now();
        let step = self.renewal().next(now);
        match step {
            RenewalStep::Use(login) => Ok(login),
            RenewalStep::UseAndRenew(login) => {
                self.renewal().begin(now);
                let this = Arc::clone(self);
                self.tasks.spawn(Box::pin(async move {
                    // A failure is in the log.
                    let _ = this.renewed().await;
                }));
                Ok(login)
            }
            RenewalStep::Renew => self.renewed().await,
            RenewalStep::Fail(left) => Err(Failure::NotLoggedIn { left }),
        }
    }

    /// Another login, after the registry refused this one. `None`: there is no other.
    pub(super) async fn after_refusal(self: &Arc<Self>, refused: &Login) -> Option<Arc<Login>> {
        let may_change = self.renewal().refused(refused.id, self.clock.now());
        if !may_change {
            return None;
        }
        self.current().await.ok().filter(|login| login.id != refused.id)
    }

    async fn renewed(&self) -> CurrentLogin {
        self.flight.join(&(), || self.renew()).await
    }

    async fn renew(&self) -> CurrentLogin {
        let asked = self.clock.now();
        if self.renewal().is_due(asked) {
            let issued = within(&*self.clock, RENEWAL_DEADLINE, self.issuer.issue(self.index)).await;
            match issued.unwrap_or_else(|_| Err(NotIssued("no answer in time".to_owned()))) {
                Ok(issued) => {
                    let login = Login { origin: LoginSource::Cloud, ..Login::new(issued.basic, &self.sealer) };
                    tracing::debug!(
                        upstream = self.upstream,
                        life_seconds = issued.life.as_secs(),
                        "the proxy's login to this upstream is renewed"
                    );
                    self.renewal().renewed(Arc::new(login), issued.life, asked);
                }
                Err(error) => {
                    let pause = self.renewal().failed(self.clock.now());
                    tracing::warn!(
                        upstream = self.upstream,
                        %error,
                        again_in_seconds = pause.as_secs(),
                        "the proxy's login to this upstream could not be renewed; what is cached is served"
                    );
                }
            }
        }
        let step = self.renewal().next(self.clock.now());
        match step {
            RenewalStep::Use(login) | RenewalStep::UseAndRenew(login) => Ok(login),
            RenewalStep::Fail(left) => Err(Failure::NotLoggedIn { left }),
            // Refused again meanwhile: the next request renews it.
            RenewalStep::Renew => Err(Failure::NotLoggedIn { left: std::time::Duration::ZERO }),
        }
    }

    fn renewal(&self) -> MutexGuard<'_, Renewal> {
        self.renewal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
