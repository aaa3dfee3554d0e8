//! A second way in: tokens of an OpenID Connect provider that the operator names.
//!
//! A token is believed when one of the provider's own keys has signed it, with an
//! algorithm from a short list, for us, for now. What its holder may do follows
//! from a claim and the operator's table. Whatever is wrong with a token, its
//! holder learns only that it is not accepted.

mod claims;
mod fetch;
mod grants;
mod jwks;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::access::Caller;
use crate::config::OidcConfig;
use crate::egress::Dialer;
use claims::Claims;
use fetch::Fetcher;
use grants::Grants;
pub use grants::InvalidGrant;
use jwks::{KeySet, Lookup, Token};

/// Longest token; longer ones are not even decoded.
const LONGEST: usize = 16 * 1024;
/// How often the provider's keys are asked for, so that a key that it has
/// withdrawn is not believed much longer.
const REFRESH_EVERY: Duration = Duration::from_secs(5 * 60);
/// The same while there is not one key, since nobody gets in then.
const RETRY_EVERY: Duration = Duration::from_secs(15);
/// A token may name a key that we do not know, but not make us ask more often
/// than this.
const ASK_AT_MOST_EVERY: Duration = Duration::from_secs(5);

/// The provider, and what its users may do here.
pub struct Provider {
    issuer: String,
    audience: String,
    grants: Grants,
    fetcher: Fetcher,
    keys: Mutex<Arc<KeySet>>,
    /// When the keys were last asked for. Held while they are, so that many tokens
    /// with a new key ask once.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

impl Provider {
    /// The provider of the configuration. Nothing is asked of it yet. `operators`
    /// dials the issuer that the operator named; `others` what the provider names.
    pub fn new(config: &OidcConfig, operators: Arc<Dialer>, others: Arc<Dialer>) -> Result<Self, InvalidGrant> {
        Ok(Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            grants: Grants::new(&config.roles_claim, &config.roles)?,
            fetcher: Fetcher::new(config.issuer.clone(), operators, others),
            keys: Mutex::default(),
            asked: tokio::sync::Mutex::default(),
        })
    }

    /// Whether the text could be a token at all; an API key never is.
    pub fn could_be_token(text: &str) -> bool {
        text.len() <= LONGEST && text.split('.').count() == 3
    }

    /// The caller whom this token vouches for; none for whatever is wrong with it.
    pub async fn caller(&self, text: &str) -> Option<Caller> {
        let token = Token::parse(text)?;
        let mut found = self.keys().verify(&token);
        if matches!(found, Lookup::NoSuchKey) {
            self.ask_again().await;
            found = self.keys().verify(&token);
        }
        let payload = match found {
            Lookup::Signed(payload) => payload,
            Lookup::NoSuchKey => return refused("no key of the provider has its id"),
            Lookup::NotSigned => return refused("the signature is not that of the key"),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let claims = match Claims::read(&payload, &self.issuer, &self.audience, now) {
            Ok(claims) => claims,
            Err(why) => return refused(why),
        };
        match self.grants.caller(&self.issuer, &claims) {
            Some(caller) => Some(caller),
            None => refused("no value of the roles claim is in the table"),
        }
    }

    /// Keeps the keys fresh until told to stop.
    pub async fn look_after(self: Arc<Self>, stop: CancellationToken) {
        let mut failing = false;
        while !stop.is_cancelled() {
            let mut asked = self.asked.lock().await;
            *asked = Some(Instant::now());
            let fetched = stop.run_until_cancelled(self.refresh()).await;
            drop(asked);
            match fetched {
                Some(Ok(())) => failing = false,
                Some(Err(error)) if !failing => {
                    failing = true;
                    warn!(
                        issuer = self.issuer,
                        error = &error as &dyn std::error::Error,
                        "the provider's keys cannot be had; those known are kept"
                    );
                }
                Some(Err(_)) | None => {}
            }
            let pause = if self.keys().is_empty() { RETRY_EVERY } else { REFRESH_EVERY };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Asks for the keys, unless that was done a moment ago.
    async fn ask_again(&self) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < ASK_AT_MOST_EVERY) {
            return;
        }
        *asked = Some(Instant::now());
        if let Err(error) = self.refresh().await {
            warn!(
                issuer = self.issuer,
                error = &error as &dyn std::error::Error,
                "the provider's keys cannot be had; those known are kept"
            );
        }
    }

    /// Replaces the keys; what the provider no longer lists is not believed any
    /// more. Where they cannot be had, those known stay.
    async fn refresh(&self) -> Result<(), fetch::FetchError> {
        let keys = KeySet::read(&self.fetcher.key_set().await?);
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if known.ids() != keys.ids() {
            info!(issuer = self.issuer, keys = ?keys.ids(), "the provider's keys");
        }
        *known = Arc::new(keys);
        Ok(())
    }

    fn keys(&self) -> Arc<KeySet> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// For the operator, who may have to find out why somebody does not get in; the
/// token is not said.
fn refused(why: &'static str) -> Option<Caller> {
    debug!(why, "a token is not accepted");
    None
}
