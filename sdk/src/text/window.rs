//! Which tokens of a long text go into which run. Pure arithmetic.

use std::ops::Range;

use crate::{Error, Overflow, Result};

/// Tokens that neighbouring windows share when the caller leaves it to us; less where windows are small.
const STRIDE: usize = 128;

/// How a text of some tokens is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The tokens of each window, without special tokens; never empty.
    pub windows: Vec<Range<usize>>,
    /// Tokens that no window holds.
    pub dropped: usize,
}

/// How two texts are read together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PairPlan {
    /// The tokens of both texts in each window; never empty.
    pub windows: Vec<[Range<usize>; 2]>,
    /// Tokens that no window holds.
    pub dropped: usize,
}

/// Cuts `tokens` tokens (special ones not counted) into windows of at most
/// `room` tokens by the caller's policy. `special` is how many special tokens
/// are put around each window; it only serves the error message.
pub(crate) fn plan(tokens: usize, room: usize, special: usize, overflow: Overflow) -> Result<Plan> {
    let stride = stride_in(room, overflow)?;
    if tokens <= room {
        return Ok(Plan { windows: std::iter::once(0..tokens).collect(), dropped: 0 });
    }
    match stride {
        Some(stride) => Ok(Plan { windows: cut(tokens, room, stride), dropped: 0 }),
        None if overflow == Overflow::Truncate => {
            Ok(Plan { windows: std::iter::once(0..room).collect(), dropped: tokens - room })
        }
        None => Err(too_long(tokens, room, special)),
    }
}

/// Which of two texts is never cut when windows are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The first: a question.
    First,
    /// The second: a hypothesis about the first.
    Second,
    /// The one with fewer tokens.
    Shorter,
}

/// [`plan`] for two texts in one row. Truncating takes from the longer text until both fit, as `longest_first`
/// of Hugging Face tokenizers does, or from the one that is not kept; windows hold all of one text and a part of
/// the other.
pub(crate) fn plan_pair(
    tokens: [usize; 2],
    room: usize,
    special: usize,
    overflow: Overflow,
    keep: Keep,
) -> Result<PairPlan> {
    let [first, second] = tokens;
    let all = first.saturating_add(second);
    if all <= room {
        // A stride that cannot be kept is an error for short texts too: the next text may be long.
        stride_in(room, overflow)?;
        return Ok(PairPlan { windows: vec![[0..first, 0..second]], dropped: 0 });
    }
    let keeps_first = keep == Keep::First || (keep == Keep::Shorter && first <= second);
    let (kept, cut_from) = if keeps_first { (first, second) } else { (second, first) };
    let rest = room.saturating_sub(kept);
    let join = |part: Range<usize>| if keeps_first { [0..kept, part] } else { [part, 0..kept] };
    match overflow {
        Overflow::Error => Err(too_long(all, room, special)),
        Overflow::Truncate if keep == Keep::Shorter => {
            let [first, second] = longest_first(tokens, room);
            Ok(PairPlan { windows: vec![[0..first, 0..second]], dropped: all - first - second })
        }
        _ if rest == 0 => Err(too_long(all, room, special)),
        Overflow::Truncate => Ok(PairPlan { windows: vec![join(0..rest)], dropped: cut_from - rest }),
        Overflow::Window { .. } | Overflow::AutoWindow => {
            let stride = stride_in(rest, overflow)?.unwrap_or(0);
            Ok(PairPlan { windows: cut(cut_from, rest, stride).into_iter().map(join).collect(), dropped: 0 })
        }
    }
}

/// The lengths to which `longest_first` of Hugging Face tokenizers cuts two texts: half of the room each, and
/// what one does not need for the other.
fn longest_first(tokens: [usize; 2], room: usize) -> [usize; 2] {
    let [first, second] = tokens;
    let (shorter, longer) = (first.min(second), first.max(second));
    let short = shorter.min(room / 2);
    let long = longer.min(room - short);
    if first <= second { [short, long] } else { [long, short] }
}

/// The stride of windows that hold `room` tokens; none for policies without windows.
fn stride_in(room: usize, overflow: Overflow) -> Result<Option<usize>> {
    match overflow {
        Overflow::Error | Overflow::Truncate => Ok(None),
        Overflow::AutoWindow => Ok(Some(STRIDE.min(room / 2))),
        Overflow::Window { stride } if stride < room => Ok(Some(stride)),
        Overflow::Window { stride } => Err(Error::InvalidArgument(format!(
            "a stride of {stride} tokens is too large: a window holds {room} tokens of the text, and neighbours must not share all of it"
        ))),
    }
}

/// Windows of `room` tokens of which neighbours share `stride`; the last one is the first that reaches the end.
fn cut(tokens: usize, room: usize, stride: usize) -> Vec<Range<usize>> {
    let step = room - stride;
    let count = tokens.saturating_sub(room).div_ceil(step) + 1;
    (0..count).map(|i| i * step..(i * step + room).min(tokens)).collect()
}

fn too_long(tokens: usize, room: usize, special: usize) -> Error {
    Error::TooLong { tokens: tokens.saturating_add(special), max: room.saturating_add(special) }
}

/// For each of `tokens` tokens the window that shows most around it: the distance to the nearer end of the
/// window is the greatest, the earlier window among equals. Ends of the text do not count as cuts.
///
/// This is the "max context" rule of BERT's SQuAD code (google-research/bert, run_squad.py), by token.
pub(crate) fn best_window(windows: &[Range<usize>], tokens: usize) -> Vec<usize> {
    let context = |window: &Range<usize>, at: usize| {
        let before = if window.start == 0 { usize::MAX } else { at - window.start };
        let after = if window.end == tokens { usize::MAX } else { window.end - 1 - at };
        before.min(after)
    };
    (0..tokens)
        .map(|at| {
            let first = windows.partition_point(|window| window.end <= at);
            let holding = windows.iter().enumerate().skip(first).take_while(|(_, window)| window.start <= at);
            let mut best = (0, None);
            for (number, window) in holding {
                let context = context(window, at);
                if best.1.is_none_or(|most| context > most) {
                    best = (number, Some(context));
                }
            }
            best.0
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn windows(tokens: usize, room: usize, stride: usize) -> Vec<Range<usize>> {
        plan(tokens, room, 2, Overflow::Window { stride }).unwrap().windows
    }

    #[test]
    fn a_short_text_is_one_window_under_every_policy() {
        for overflow in [Overflow::Error, Overflow::Truncate, Overflow::Window { stride: 3 }, Overflow::AutoWindow] {
            for tokens in [0, 1, 10] {
                let plan = plan(tokens, 10, 2, overflow).unwrap();
                assert_eq!(plan, Plan { windows: std::iter::once(0..tokens).collect(), dropped: 0 });
            }
        }
    }

    #[test]
    fn policies_for_a_long_text() {
        let error = plan(11, 10, 2, Overflow::Error).unwrap_err();
        assert!(matches!(error, Error::TooLong { tokens: 13, max: 12 }));
        let cut = plan(25, 10, 2, Overflow::Truncate).unwrap();
        assert_eq!(cut, Plan { windows: std::iter::once(0..10).collect(), dropped: 15 });
        assert_eq!(windows(25, 10, 2), [0..10, 8..18, 16..25]);
        assert_eq!(windows(26, 10, 2), [0..10, 8..18, 16..26]);
        assert_eq!(windows(27, 10, 2), [0..10, 8..18, 16..26, 24..27]);
        assert_eq!(windows(20, 10, 0), [0..10, 10..20]);
        assert_eq!(plan(20, 10, 2, Overflow::AutoWindow).unwrap().windows, [0..10, 5..15, 10..20]);
        assert_eq!(plan(600, 500, 2, Overflow::AutoWindow).unwrap().windows, [0..500, 372..600]);
    }

    #[test]
    fn policies_for_a_long_pair() {
        let pair = |tokens, overflow, keep| plan_pair(tokens, 10, 3, overflow, keep);
        for overflow in [Overflow::Error, Overflow::Truncate, Overflow::AutoWindow] {
            let plan = pair([4, 6], overflow, Keep::Shorter).unwrap();
            assert_eq!(plan, PairPlan { windows: vec![[0..4, 0..6]], dropped: 0 });
        }
        let error = pair([4, 7], Overflow::Error, Keep::Shorter).unwrap_err();
        assert!(matches!(error, Error::TooLong { tokens: 14, max: 13 }));

        let cut = |tokens, keep| pair(tokens, Overflow::Truncate, keep).unwrap();
        assert_eq!(cut([3, 20], Keep::Shorter), PairPlan { windows: vec![[0..3, 0..7]], dropped: 13 });
        assert_eq!(cut([20, 3], Keep::Shorter), PairPlan { windows: vec![[0..7, 0..3]], dropped: 13 });
        assert_eq!(cut([20, 30], Keep::Shorter), PairPlan { windows: vec![[0..5, 0..5]], dropped: 40 });
        assert_eq!(cut([4, 20], Keep::First), PairPlan { windows: vec![[0..4, 0..6]], dropped: 14 });
        assert_eq!(cut([20, 4], Keep::Second), PairPlan { windows: vec![[0..6, 0..4]], dropped: 14 });
        assert!(matches!(pair([10, 1], Overflow::Truncate, Keep::First), Err(Error::TooLong { .. })));

        let wide = Overflow::Window { stride: 2 };
        assert_eq!(pair([4, 12], wide, Keep::Shorter).unwrap().windows, [[0..4, 0..6], [0..4, 4..10], [0..4, 8..12]]);
        assert_eq!(pair([8, 5], wide, Keep::Shorter).unwrap().windows, [[0..5, 0..5], [3..8, 0..5]]);
        assert_eq!(pair([8, 5], Overflow::Window { stride: 0 }, Keep::First).unwrap().windows.len(), 3);
        assert!(matches!(pair([8, 50], wide, Keep::First), Err(Error::InvalidArgument(_))));
        assert!(matches!(pair([10, 50], wide, Keep::First), Err(Error::TooLong { .. })));
    }

    #[test]
    fn a_stride_that_never_advances_is_refused() {
        for tokens in [0, 5, 50] {
            for stride in [10, 11, usize::MAX] {
                let error = plan(tokens, 10, 2, Overflow::Window { stride }).unwrap_err();
                assert!(matches!(error, Error::InvalidArgument(_)));
            }
        }
    }

    #[test]
    fn tokens_are_read_where_most_stands_around_them() {
        let windows = windows(25, 10, 4);
        assert_eq!(windows, [0..10, 6..16, 12..22, 18..25]);
        let best = best_window(&windows, 25);
        assert_eq!(best[..8], [0; 8]);
        assert_eq!(best[8..14], [1; 6]);
        assert_eq!(best[14..20], [2; 6]);
        assert_eq!(best[20..], [3; 5]);
        assert_eq!(best_window(std::slice::from_ref(&(0..3)), 3), [0; 3]);
    }

    proptest! {
        #[test]
        fn windows_cover_every_token_and_share_the_stride(
            tokens in 0usize..5000,
            room in 1usize..600,
            stride in 0usize..600,
        ) {
            prop_assume!(stride < room);
            let windows = windows(tokens, room, stride);
            prop_assert_eq!(windows[0].start, 0);
            prop_assert_eq!(windows[windows.len() - 1].end, tokens);
            for window in &windows {
                prop_assert!(window.len() <= room);
                prop_assert!(window.start <= window.end);
            }
            for pair in windows.windows(2) {
                prop_assert_eq!(pair[0].len(), room);
                prop_assert_eq!(pair[0].end - pair[1].start, stride);
                prop_assert!(pair[1].end > pair[0].end, "every window adds something");
            }
        }

        #[test]
        fn truncation_loses_exactly_what_it_says(tokens in 0usize..5000, room in 1usize..600) {
            let plan = plan(tokens, room, 2, Overflow::Truncate).unwrap();
            prop_assert_eq!(plan.windows.len(), 1);
            prop_assert_eq!(plan.windows[0].end + plan.dropped, tokens);
        }

        #[test]
        fn pairs_fit_their_rows(
            first in 0usize..300,
            second in 0usize..300,
            room in 1usize..200,
            stride in 0usize..50,
            policy in 0usize..3,
            keep in 0usize..3,
        ) {
            let overflow = [Overflow::Truncate, Overflow::Window { stride }, Overflow::AutoWindow][policy];
            let keep = [Keep::First, Keep::Second, Keep::Shorter][keep];
            let Ok(plan) = plan_pair([first, second], room, 3, overflow, keep) else { return Ok(()) };
            let mut seen = [vec![false; first], vec![false; second]];
            for window in &plan.windows {
                prop_assert!(window[0].len() + window[1].len() <= room);
                for (seen, part) in seen.iter_mut().zip(window) {
                    part.clone().for_each(|at| seen[at] = true);
                }
            }
            prop_assert_eq!(seen.concat().iter().filter(|&&seen| !seen).count(), plan.dropped);
        }

        #[test]
        fn every_token_is_read_in_a_window_that_holds_it(
            tokens in 0usize..2000,
            room in 1usize..300,
            stride in 0usize..300,
        ) {
            prop_assume!(stride < room);
            let windows = windows(tokens, room, stride);
            for (at, best) in best_window(&windows, tokens).into_iter().enumerate() {
                prop_assert!(windows[best].contains(&at));
            }
        }
    }
}
