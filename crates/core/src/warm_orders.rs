//! Warmings that are asked for, and what is told of them: values, and what waits. The module `warm` carries them out.
//!
//! - [`request`] `o`: what is wanted · [`told`] `o`: what a warming tells, and its sums
//! - [`queue`]: warmings that were asked for by HTTP · [`schedule`] `o`: when rules of the configuration are due ·
//!   [`timer`] `o`: calls of a platform's timer

mod queue;
mod request;
mod schedule;
mod timer;
mod told;

pub(crate) use self::queue::{WarmOrder, WarmProgress, WarmQueue, WarmReport};
pub use self::request::{
    MAX_IMAGE_BYTES, MAX_IMAGES, MAX_JOBS, MAX_NEWEST, MAX_WAIT_SECONDS, USUAL_NEWEST, WarmRequest,
};
pub use self::schedule::Timetables;
pub(crate) use self::schedule::{ScheduleLook, ScheduleTime};
pub use self::timer::{MAX_TIMER_CALL_BYTES, has_timer_token, is_timer_call, is_timer_event};
pub use self::told::{MissingPart, PartOutcome, WarmEvent, WarmTell, WarmTotals, WarmedImage, WarmedPart};
