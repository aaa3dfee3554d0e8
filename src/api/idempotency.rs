//! Idempotency keys: of many equal calls with one key, one has an effect, and
//! all get its answer.

use prost::Message;
use sha2::{Digest, Sha256};
use tracing::{Instrument, Span, warn};

use crate::access::Caller;
use crate::error::{Error, Reason};
use crate::failpoint;
use crate::ids::KeyId;
use crate::store::Store;
use crate::store::idempotency::{Answer, Begun, Completion};

/// Hash of what a call asks for. The key itself must be taken out before.
pub fn payload(message: &impl Message) -> [u8; 32] {
    Sha256::digest(message.encode_to_vec()).into()
}

/// How a call with an idempotency key goes on.
pub enum Begin<Reply> {
    /// It was done before; this was the answer.
    Replay(Reply),
    /// It is the first, or has no key: act.
    Act(Option<Claim>),
}

/// A claimed key, to be completed or abandoned.
#[derive(Clone)]
pub struct Claim {
    store: Store,
    caller: KeyId,
    method: &'static str,
    request_id: String,
}

/// Begins a call. An empty key claims nothing.
pub async fn begin<Reply: Message + Default>(
    store: &Store,
    caller: &Caller,
    method: &'static str,
    request_id: &str,
    payload: [u8; 32],
) -> Result<Begin<Reply>, Error> {
    if request_id.is_empty() {
        return Ok(Begin::Act(None));
    }
    match store.begin(&caller.key, method, request_id, payload).await? {
        Begun::Fresh => {
            failpoint::reach("request.begun");
            Ok(Begin::Act(Some(Claim {
                store: store.clone(),
                caller: caller.key.clone(),
                method,
                request_id: request_id.to_owned(),
            })))
        }
        Begun::Replay(bytes) => Ok(Begin::Replay(Reply::decode(bytes.as_slice()).map_err(Error::internal)?)),
        Begun::InUse => {
            Err(Error::new(Reason::IdempotencyKeyInUse, "the first call with this idempotency key is still going on"))
        }
        Begun::Reused => {
            Err(Error::new(Reason::IdempotencyKeyReused, "this idempotency key was used with another request"))
        }
    }
}

/// Acts once. What acts stores the claim's [answer](Claim::answer) together with
/// its effect: a crash between the two would have the next call act again. With a
/// key, what was begun is also ended when the caller goes away meanwhile: else the
/// key would stay claimed.
pub async fn once<Reply, Act, Acting>(
    store: &Store,
    caller: &Caller,
    method: &'static str,
    request_id: &str,
    payload: [u8; 32],
    act: Act,
) -> Result<Reply, Error>
where
    Reply: Message + Default + 'static,
    Act: FnOnce(Option<Claim>) -> Acting,
    Acting: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    match begin(store, caller, method, request_id, payload).await? {
        Begin::Replay(reply) => Ok(reply),
        Begin::Act(None) => act(None).await,
        Begin::Act(Some(claim)) => {
            let acting = act(Some(claim.clone()));
            let acting = async move {
                let result = acting.await;
                failpoint::reach("request.acted");
                if result.is_err() {
                    claim.abandon().await;
                }
                result
            };
            tokio::spawn(acting.instrument(Span::current())).await.map_err(Error::internal)?
        }
    }
}

impl Claim {
    /// What the store keeps of an answer.
    pub fn completion(&self, reply: &impl Message) -> Completion {
        Completion {
            caller: self.caller.clone(),
            method: self.method.to_owned(),
            request_id: self.request_id.clone(),
            response: reply.encode_to_vec(),
        }
    }

    /// What makes that of what has been made, for the transaction that makes it.
    pub fn answer<Made: 'static, Reply: Message + 'static>(self, reply: fn(&Made) -> Reply) -> Answer<Made> {
        Box::new(move |made| self.completion(&reply(made)))
    }

    /// Gives the key back: the call had no effect.
    pub async fn abandon(&self) {
        if let Err(error) = self.store.abandon(&self.caller, self.method, &self.request_id).await {
            warn!(%error, "an idempotency key stays claimed");
        }
    }
}
