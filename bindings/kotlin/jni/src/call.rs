//! Options of the calls of all tasks, in the order in which `CallOptions.kt` writes them. Names and rules are those
//! of `limbeck_call_options`.

use std::time::{Duration, Instant};

use limbeck_sdk::{Aggregation, Cancel, Overflow};

use crate::failure::Failure;
use crate::handles;
use crate::wire::Reader;

/// Call options, checked. What is `None` was left at its default.
pub(crate) struct Call<'a> {
    pub(crate) overflow: Option<Overflow>,
    pub(crate) cancel: Option<Cancel>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) top_k: Option<usize>,
    pub(crate) threshold: Option<f32>,
    pub(crate) out_of_scope: Option<f32>,
    pub(crate) aggregation: Option<Aggregation>,
    pub(crate) multi_label: bool,
    pub(crate) max_answer_tokens: Option<usize>,
    pub(crate) hypothesis: Option<&'a str>,
    pub(crate) rank_label: Option<&'a str>,
    pub(crate) both_orders: bool,
}

impl<'a> Call<'a> {
    /// Reads the options of a call that begins now. `known` names those that the task reads beside those of every
    /// task: one that is set and is not read is refused.
    pub(crate) fn read(from: &mut Reader<'a>, known: &[&str]) -> Result<Self, Failure> {
        let (overflow, stride) = (from.int()?, from.size("windowStride")?);
        let (deadline, cancel) = limits(from)?;
        let number = |name: &str, value: f32| match value.is_finite() {
            true => Ok(Some(value).filter(|value| *value != 0.0)),
            false => Err(Failure::argument(format!("{name} is {value} and must be a finite number"))),
        };
        let text = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        let call = Call {
            overflow: overflow_of(overflow, stride)?,
            cancel,
            deadline,
            top_k: from.size("topK")?,
            threshold: number("threshold", from.float()?)?,
            out_of_scope: number("outOfScope", from.float()?)?,
            aggregation: aggregation_of(from.int()?)?,
            multi_label: from.flag()?,
            max_answer_tokens: from.size("maxAnswerTokens")?,
            hypothesis: text(from.text()?),
            rank_label: text(from.text()?),
            both_orders: from.flag()?,
        };
        let set = [
            ("topK", call.top_k.is_some()),
            ("threshold", call.threshold.is_some()),
            ("outOfScope", call.out_of_scope.is_some()),
            ("aggregation", call.aggregation.is_some()),
            ("multiLabel", call.multi_label),
            ("maxAnswerTokens", call.max_answer_tokens.is_some()),
            ("hypothesis", call.hypothesis.is_some()),
            ("rankLabel", call.rank_label.is_some()),
            ("bothOrders", call.both_orders),
        ];
        match set.iter().find(|(name, set)| *set && !known.contains(name)) {
            Some((name, _)) => {
                Err(Failure::argument(format!("the option {name} is set, which this task does not read: leave it out")))
            }
            None => Ok(call),
        }
    }
}

/// What ends a call that begins now: its deadline, and its token.
pub(crate) fn limits(from: &mut Reader) -> Result<(Option<Instant>, Option<Cancel>), Failure> {
    let started = Instant::now();
    // One so far away that the clock cannot hold it is none.
    let deadline = from.count("timeoutMillis")?.and_then(|ms| started.checked_add(Duration::from_millis(ms)));
    let cancel = match from.long()? {
        0 => None,
        number => Some(handles::get(number)?),
    };
    Ok((deadline, cancel))
}

/// By the numbers of `LIMBECK_OVERFLOW_`.
fn overflow_of(overflow: i32, stride: Option<usize>) -> Result<Option<Overflow>, Failure> {
    match (overflow, stride) {
        (3, None) => Ok(Some(Overflow::AutoWindow)),
        (3, Some(stride)) => Ok(Some(Overflow::Window { stride })),
        (_, Some(stride)) => {
            Err(Failure::argument(format!("the option windowStride is {stride} and overflow is not WINDOW")))
        }
        (0, None) => Ok(None),
        (1, None) => Ok(Some(Overflow::Truncate)),
        (2, None) => Ok(Some(Overflow::Error)),
        (other, None) => Err(Failure::internal(format!("overflow {other}"))),
    }
}

/// By the numbers of `LIMBECK_AGGREGATION_`, and -1: not set. C has one number for that and for `First`; tasks whose
/// default is another one refuse `First` where it is set.
fn aggregation_of(aggregation: i32) -> Result<Option<Aggregation>, Failure> {
    match aggregation {
        -1 => Ok(None),
        0 => Ok(Some(Aggregation::First)),
        1 => Ok(Some(Aggregation::Average)),
        2 => Ok(Some(Aggregation::Max)),
        3 => Ok(Some(Aggregation::Strict)),
        4 => Ok(Some(Aggregation::None)),
        other => Err(Failure::internal(format!("aggregation {other}"))),
    }
}

/// The sdk's options of one task, with the part that all tasks share filled in.
macro_rules! task_options {
    ($call:expr, $options:ty) => {{
        let mut options = <$options>::default();
        if let Some(overflow) = $call.overflow {
            options.overflow = overflow;
        }
        options.cancel = $call.cancel.clone();
        options.deadline = $call.deadline;
        options
    }};
}
pub(crate) use task_options;
