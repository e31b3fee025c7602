use super::*;
use crate::data::{Example, Question};

#[test]
fn what_is_timed_is_all_that_a_model_reads() {
    let question = |question: &str, context: &str| Question {
        id: String::new(),
        question: question.to_owned(),
        context: context.to_owned(),
        answers: Vec::new(),
    };
    // The longest question is about the shortest text.
    let rows = Rows::Questions(vec![question("aaaaaaaa", "b"), question("a", "bb"), question("aa", "bbb")]);
    assert_eq!(row_of_quantile(&rows, Goal::Answers, 0.5), ("aa", Some("bbb")));
    assert_eq!(row_of_quantile(&rows, Goal::Answers, 0.9), ("aaaaaaaa", Some("b")));
    let pair = |text: &str, second: &str| Example {
        text: text.to_owned(),
        pair: Some(second.to_owned()),
        label: String::new(),
        source: String::new(),
    };
    let rows = Rows::Texts(vec![pair("a", "bbbbb"), pair("cc", "d")]);
    assert_eq!(row_of_quantile(&rows, Goal::Value, 0.5), ("a", Some("bbbbb")));
    let apart = Goal::Similarity { highest: 5.0 };
    assert_eq!(row_of_quantile(&rows, apart, 0.5), ("cc", None), "an embedding is of one text");
    assert_eq!(row_of_quantile(&Rows::Texts(Vec::new()), Goal::Class, 0.5), ("", None));
}
