//! Which tokens of a long text go into which run. Pure arithmetic.

use std::ops::Range;

use crate::{Error, Overflow, Result};

/// How a text of some tokens is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The tokens of each window, without special tokens; never empty.
    pub windows: Vec<Range<usize>>,
    /// Tokens that no window holds.
    pub dropped: usize,
}

/// Cuts `tokens` tokens (special ones not counted) into windows of at most
/// `room` tokens by the caller's policy. `special` is how many special tokens
/// are put around each window; it only serves the error message.
pub(crate) fn plan(tokens: usize, room: usize, special: usize, overflow: Overflow) -> Result<Plan> {
    if let Overflow::Window { stride } = overflow
        && stride >= room
    {
        return Err(Error::InvalidArgument(format!(
            "a stride of {stride} tokens is too large: a window of this model holds {room}, and neighbours must not share all of it"
        )));
    }
    if tokens <= room {
        return Ok(Plan { windows: std::iter::once(0..tokens).collect(), dropped: 0 });
    }
    match overflow {
        Overflow::Error => {
            Err(Error::TooLong { tokens: tokens.saturating_add(special), max: room.saturating_add(special) })
        }
        Overflow::Truncate => Ok(Plan { windows: std::iter::once(0..room).collect(), dropped: tokens - room }),
        Overflow::Window { stride } => {
            let step = room - stride;
            // The last window is the first one that reaches the end.
            let count = (tokens - room).div_ceil(step) + 1;
            let windows = (0..count).map(|i| i * step..(i * step + room).min(tokens)).collect();
            Ok(Plan { windows, dropped: 0 })
        }
    }
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
        for overflow in [Overflow::Error, Overflow::Truncate, Overflow::Window { stride: 3 }] {
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
    }
}
