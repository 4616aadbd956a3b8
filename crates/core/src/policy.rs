//! Whose signature the images of a repository need, and which service says yes or no to them (`[[policy]]`): pure. Which rule applies, what a signature says, and what
//! follows from it. Who looks for signatures: `manifest`; who verifies them: the platform's
//! [`Signer`](crate::platform::Signer)s.
//!
//! - [`rules`]: the rules, and what becomes of an image by them
//! - [`attached`]: the signatures of an image, as cosign stores them; [`attachment`]: what is no image but a document about one
//! - [`payload`], [`bundle`]: what a signature was made of, in the old format and in the new
//! - [`verdict`]: whether an image has the signature, and what was found instead
//! - [`service`]: what a service is asked, and what its answer means
//! - [`verdicts`]: verdicts of a moment ago, and those that are being looked for

mod attached;
mod attachment;
mod bundle;
mod payload;
mod rules;
mod service;
mod verdict;
mod verdicts;

pub(crate) use self::attached::{AttachedSignature, bundles_in, signature_tag};
pub(crate) use self::attachment::{is_attachment, subject_of};
pub(crate) use self::rules::{
    ImagePolicy, PolicyDecision, PolicyRules, WANTED_CONSENT, WantedSignature, WantedSigner,
};
pub(crate) use self::service::{MAX_ANSWER_BYTES, NoAnswer, ServiceVerdict, VerdictQuestion, VerdictService};
pub(crate) use self::verdict::{NoVerdict, SignatureVerdict};
pub(crate) use self::verdicts::{ServiceWord, VerdictKey, VerdictOf, Verdicts};
