//! Whether an image has the signature that its policy wants, and what was found instead.

use std::fmt;
use std::time::Duration;

use crate::outcome::Reason;
use crate::platform::BundleFlaw;

/// How long it is remembered that a signature is missing: images are pushed first and signed then.
const REFUSED_LIFE: Duration = Duration::from_secs(10);

/// Whether an image has the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureVerdict {
    /// The signer has signed it.
    Signed,
    /// It has not, but an index that names it: whoever signs an index signs the digests in it.
    PartOfSigned,
    /// It is no image, but a signature or another document about one.
    Attachment,
    /// It needs none.
    NotWanted,
    /// It has no signature.
    Unsigned,
    /// It has signatures, and none of them counts.
    Rejected {
        /// How many there are.
        signatures: usize,
        /// What is wrong with the last.
        flaw: Flaw,
    },
    /// Nobody could say.
    Unknown(NoVerdict),
}

/// What is wrong with a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The bytes that it was made of are not those that its layer names.
    BytesDiffer,
    /// Another key made it, or it was made of other bytes.
    NotByKey,
    /// It signs another manifest.
    OtherManifest,
    /// It signs something else than an image.
    NoImageSigned,
    /// It is in a format that names no identity.
    NoIdentity,
    /// Another issuer vouches for its signer.
    OtherIssuer,
    /// The issuer calls its signer otherwise.
    OtherSubject,
    /// Something about its bundle is wrong.
    Bundle(BundleFlaw),
}

/// Why there is no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoVerdict {
    /// This build or platform verifies no signatures.
    NoVerifier,
    /// Its digest is of an algorithm that this proxy does not know, so its bytes cannot be verified.
    UnknownAlgorithm,
    /// The registry did not give the signature in time.
    TooLate,
    /// The registry did not give the signature.
    Unavailable,
    /// The signature is not cached, and nobody is asked.
    NotCached,
}

impl SignatureVerdict {
    /// Whether the image is what the policy wants.
    pub(crate) const fn is_accepted(self) -> bool {
        match self {
            Self::Signed | Self::PartOfSigned | Self::Attachment | Self::NotWanted => true,
            Self::Unsigned | Self::Rejected { .. } | Self::Unknown(_) => false,
        }
    }

    /// This, or what was found elsewhere: that it is signed, or else what says that it may be.
    #[must_use]
    pub(crate) const fn or(self, other: Self) -> Self {
        const fn rank(verdict: SignatureVerdict) -> u8 {
            match verdict {
                SignatureVerdict::Signed
                | SignatureVerdict::PartOfSigned
                | SignatureVerdict::Attachment
                | SignatureVerdict::NotWanted => 4,
                SignatureVerdict::Unknown(NoVerdict::NotCached) => 1,
                SignatureVerdict::Unknown(_) => 3,
                SignatureVerdict::Rejected { .. } => 2,
                SignatureVerdict::Unsigned => 0,
            }
        }
        if rank(other) >= rank(self) { other } else { self }
    }

    /// Whether the signer answers for what the manifest names.
    pub(crate) const fn answers_for_parts(self) -> bool {
        match self {
            Self::Signed | Self::PartOfSigned => true,
            Self::Attachment | Self::NotWanted | Self::Unsigned | Self::Rejected { .. } | Self::Unknown(_) => {
                false
            }
        }
    }

    /// How long it is remembered; `None`: for as long as there is room. A signature does not become wrong.
    pub(super) const fn life(self) -> Option<Duration> {
        match self {
            Self::Signed | Self::PartOfSigned | Self::Attachment | Self::NotWanted => None,
            Self::Unsigned | Self::Rejected { .. } => Some(REFUSED_LIFE),
            Self::Unknown(_) => Some(Duration::ZERO),
        }
    }

    /// As a label of a metric.
    pub(crate) const fn as_label(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::PartOfSigned => "part of a signed index",
            Self::Attachment => "no image",
            Self::NotWanted => "not wanted",
            Self::Unsigned => "unsigned",
            Self::Rejected { .. } => "rejected",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Why an image with this verdict is refused.
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::Rejected { .. } => Reason::SignatureRejected,
            Self::Unknown(_) => Reason::NoSignatureVerdict,
            Self::Unsigned | Self::Signed | Self::PartOfSigned | Self::Attachment | Self::NotWanted => {
                Reason::Unsigned
            }
        }
    }
}

impl fmt::Display for SignatureVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed => f.write_str("it has that signature"),
            Self::PartOfSigned => f.write_str("it is part of an index that has that signature"),
            Self::Attachment => f.write_str("a signature, or another document about an image"),
            Self::NotWanted => f.write_str("it needs no signature"),
            Self::Unsigned => f.write_str("it has no signature"),
            Self::Rejected { signatures: 1, flaw } => write!(f, "its signature {flaw}"),
            Self::Rejected { signatures, flaw } => {
                write!(f, "none of its {signatures} signatures is that one; the last {flaw}")
            }
            Self::Unknown(why) => why.fmt(f),
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BytesDiffer => "was made of other bytes than it says",
            Self::NotByKey => "is by another key, or was changed",
            Self::OtherManifest | Self::Bundle(BundleFlaw::OtherManifest) => "is that of another image",
            Self::NoImageSigned => "signs something else than an image",
            Self::NoIdentity => "is no bundle of Sigstore, which would name who made it",
            Self::OtherIssuer => "is by somebody for whom another issuer vouches",
            Self::OtherSubject => "is by somebody else",
            Self::Bundle(BundleFlaw::NotABundle) => "is no bundle that an identity makes for an image",
            Self::Bundle(BundleFlaw::Untrusted) => "has a certificate by no authority of the trust root",
            Self::Bundle(BundleFlaw::NotValidThen) => "has a certificate that was not valid when it was made",
            Self::Bundle(BundleFlaw::NotLogged) => "is not proved to be in a transparency log of the trust root",
            Self::Bundle(BundleFlaw::Changed) => "is not by the key of its certificate, or was changed",
        })
    }
}

impl fmt::Display for NoVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoVerifier => "this proxy cannot verify signatures here",
            Self::UnknownAlgorithm => "its digest is of an algorithm that this proxy cannot compute",
            Self::TooLate => "the registry did not give the signature in time",
            Self::Unavailable => "the registry did not give the signature",
            Self::NotCached => "no such signature is cached, and no registry is asked",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_findings_the_one_that_says_more_counts() {
        let rejected = |signatures| SignatureVerdict::Rejected { signatures, flaw: Flaw::NotByKey };
        let (absent, down) = (NoVerdict::NotCached, NoVerdict::Unavailable);
        let ordered = [
            SignatureVerdict::Unsigned,
            SignatureVerdict::Unknown(absent),
            rejected(1),
            SignatureVerdict::Unknown(down),
            SignatureVerdict::Signed,
        ];
        for (i, less) in ordered.into_iter().enumerate() {
            for more in ordered.into_iter().skip(i) {
                assert_eq!((less.or(more), more.or(less)), (more, more));
            }
        }
        assert_eq!(rejected(1).or(rejected(2)), rejected(2), "the last");
    }
}
