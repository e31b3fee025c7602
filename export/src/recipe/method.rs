//! Published methods as stages.

use serde::{Deserialize, Serialize};

use super::loss::{Attending, LossTerm, Projection, Relation};
use super::stage::{Line, Scheduled, StageRecipe, TeacherState, Texts};
use crate::data::Masking;
use crate::distill::{Averaging, LayerMap, Padding};
use crate::quantize::FakeQuantization;
use crate::train::TrainOptions;

/// A published way to distil. Each stands for stages, which [`super::Recipe::to_toml`] writes out; they train as the
/// recipe's `student.train` says, because papers train for days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Task distillation with DistilBERT's three losses, the hard one on labels (Sanh 2019, section 2; weights of the
    /// README's command: 5, 2, 1, T 2).
    #[default]
    Distilbert,
    /// General distillation before it: the three losses on a masked corpus (Sanh 2019, section 2; the same weights),
    /// then [`Self::Distilbert`]. The paper trains the first for 3 epochs by AdamW with `learning_rate = 5e-4`,
    /// `beta1 = 0.9`, `beta2 = 0.98`, `epsilon = 1e-6`, `weight_decay = 0`, `clip_norm = 5`, `warmup = 0.05`, on up to
    /// 4000 sequences a step (the code's `train.py`: `batch_size = 5`, `accumulate = 50`).
    DistilbertGeneral,
    /// TinyBERT's two task stages (Jiao 2020, section 3.3): layers first, then the prediction.
    Tinybert,
    /// General distillation before them: the losses on layers, from the pretrained teacher on a corpus (section 3.3).
    TinybertGeneral,
    /// The same as its released code computes it: one map for all layers, means that count padding and classes.
    TinybertCode,
    /// Deep self-attention distillation (Wang 2020), then soft targets.
    Minilm,
    /// Relations of queries, keys and values (Wang 2021), then soft targets. With as many relation heads as the teacher's
    /// attention has: the paper's 48 or 64 do not divide the width of every student; `heads` sets them.
    Minilmv2,
    /// Progressive stages (Mukherjee 2020, "XtremeDistil"; 2021): embeddings and hidden states, then the head's answers, then
    /// with labels. The latter two unfreeze layer by layer from the last on; the paper trains until each converges, this over the first
    /// half of a stage.
    Xtremedistil,
    /// What did best on our own recipes: attention scores and hidden states of layers first, then soft targets and labels
    /// alone. `limbeck distill --recipe auto` uses it.
    LayersFirst,
    /// For a student whose layers share their weights: every depth learns its own teacher layer (attention scores and
    /// hidden states, as TinyBERT's), then soft targets. Hidden states beside the soft targets were tried and took back
    /// most of the gain: `examples/recipes/albert-shared`.
    AlbertShared,
    /// DistilBERT's second step of distillation for questions: half soft targets, half labels (Sanh 2019, section 3;
    /// `run_squad_w_distillation.py`: 0.5 and 0.5, T 2). It trains for 3 epochs by `learning_rate = 5e-5`, on windows of
    /// `max_tokens = 384` with `stride = 128`.
    DistilbertQa,
    /// Patient knowledge distillation (Sun 2019): labels and soft targets, each half, and the states of `[CLS]` of inner
    /// layers. Alpha 0.5, T 10 and beta 10 are of the grids of section 4.2. `layer_map = "uniform"` is PKD-Skip, `"last"`
    /// PKD-Last.
    Pkd,
    /// MobileBERT's transfer of feature maps and of attention, all layers at once (Sun 2020, section 3.4, "auxiliary knowledge
    /// transfer" of 3.5), then soft targets. For students of any width; of its layers with bottlenecks there are none.
    Mobilebert,
    /// TernaryBERT (Zhang 2020, "distillation-aware ternarization"): TinyBERT's two stages in full precision, then its losses on layers and the
    /// soft cross-entropy together, with ternary weights and 8-bit activations.
    Ternarybert,
    /// Pre-trained distillation (Turc 2019, "well-read students", section 3): a student that was pretrained by itself
    /// (`--student`) learns the teacher's answers, then the labels.
    WellRead,
    /// TextBrewer's setting (Yang 2020): soft targets at T 8, hidden states, and the products of states of a text.
    Textbrewer,
    /// BERT-of-Theseus (Xu 2020): layers of the student replace layers of the teacher, with a probability that grows from 0.3 to
    /// 1, on labels alone; then the student learns by itself. The student has the teacher's sizes but for the depth.
    Theseus,
}

fn constant(value: f64) -> Scheduled {
    Scheduled::Constant(value)
}

fn soft_targets(weight: f64, temperature: f64) -> LossTerm {
    LossTerm::SoftTargets { weight: constant(weight), temperature: constant(temperature) }
}

fn labels(weight: f64) -> LossTerm {
    LossTerm::Labels { weight: constant(weight) }
}

impl Method {
    /// The stages where there are texts without labels too: a stage on the training rows that asks for no label reads them
    /// all, and before one that does comes another with its other losses on them all, if it has any.
    pub fn stages_with_unlabelled(self, train: &TrainOptions) -> Vec<StageRecipe> {
        let mut stages = Vec::new();
        for stage in self.stages(train) {
            let asks = |term: &LossTerm| matches!(term, LossTerm::Labels { .. });
            let asked = stage.losses.iter().any(asks);
            if stage.on != Texts::Train {
                stages.push(stage);
            } else if asked {
                let losses: Vec<LossTerm> = stage.losses.iter().filter(|term| !asks(term)).cloned().collect();
                let done = |before: &StageRecipe| before.on == Texts::Unlabelled && before.losses == losses;
                if !losses.is_empty() && !stages.iter().any(done) {
                    let name = format!("{}-unlabelled", stage.name);
                    stages.push(StageRecipe { name, losses, on: Texts::Unlabelled, ..stage.clone() });
                }
                stages.push(stage);
            } else {
                stages.push(StageRecipe { on: Texts::Unlabelled, ..stage });
            }
        }
        stages
    }

    /// The stages, trained as `train` says.
    pub fn stages(self, train: &TrainOptions) -> Vec<StageRecipe> {
        let stage = |name: &str, losses: Vec<LossTerm>| StageRecipe {
            name: name.to_owned(),
            on: Texts::Train,
            from: TeacherState::Task,
            layer_map: LayerMap::Uniform,
            losses,
            masking: None,
            quantize: None,
            replacing: None,
            train: Some(train.clone()),
        };
        let prediction = |losses| stage("prediction", losses);
        let layers = |projection, padding| {
            vec![
                LossTerm::AttentionScores { weight: constant(1.0), padding },
                LossTerm::HiddenStates { weight: constant(1.0), projection, padding },
                LossTerm::Embeddings { weight: constant(1.0), projection, padding },
            ]
        };
        let relations =
            |of: Vec<Relation>, heads| LossTerm::Relations { weight: constant(1.0), of, heads, teacher_layer: None };
        let hidden = || LossTerm::HiddenStates {
            weight: constant(1.0),
            projection: Projection::Separate,
            padding: Padding::Excluded,
        };
        let scores_and_states =
            || vec![LossTerm::AttentionScores { weight: constant(1.0), padding: Padding::Excluded }, hidden()];
        let general =
            |losses| StageRecipe { on: Texts::Corpus, from: TeacherState::Pretrained, ..stage("general", losses) };
        match self {
            Method::Distilbert => vec![stage(
                "distill",
                vec![soft_targets(5.0, 2.0), labels(2.0), LossTerm::HiddenCosine { weight: constant(1.0) }],
            )],
            Method::DistilbertGeneral => {
                let triple = general(vec![
                    LossTerm::MaskedLmSoftTargets {
                        weight: constant(5.0),
                        temperature: constant(2.0),
                        restrict_to_mask: false,
                    },
                    LossTerm::MaskedLm { weight: constant(2.0) },
                    LossTerm::HiddenCosine { weight: constant(1.0) },
                ]);
                let triple = StageRecipe { masking: Some(Masking::default()), ..triple };
                std::iter::once(triple).chain(Method::Distilbert.stages(train)).collect()
            }
            Method::TinybertGeneral => {
                let first = general(layers(Projection::Separate, Padding::Excluded));
                std::iter::once(first).chain(Method::Tinybert.stages(train)).collect()
            }
            Method::Tinybert | Method::TinybertCode => {
                let paper = self == Method::Tinybert;
                let (projection, padding, averaging) = if paper {
                    (Projection::Separate, Padding::Excluded, Averaging::Rows)
                } else {
                    (Projection::Shared, Padding::Counted, Averaging::RowsAndClasses)
                };
                let one = constant(1.0);
                vec![
                    stage("intermediate", layers(projection, padding)),
                    prediction(vec![LossTerm::SoftCrossEntropy { weight: one, temperature: one, averaging }]),
                ]
            }
            Method::Minilm => vec![
                stage(
                    "attention",
                    vec![
                        LossTerm::AttentionDistributions { weight: constant(1.0), layers: Attending::Last },
                        relations(vec![Relation::Value], None),
                    ],
                ),
                prediction(vec![soft_targets(5.0, 2.0), labels(2.0)]),
            ],
            Method::Minilmv2 => vec![
                stage("relations", vec![relations(vec![Relation::Query, Relation::Key, Relation::Value], None)]),
                prediction(vec![soft_targets(5.0, 2.0), labels(2.0)]),
            ],
            Method::Xtremedistil => {
                let unfreezing = TrainOptions { unfreeze: 0.5, ..train.clone() };
                let step_by_step = |stage| StageRecipe { train: Some(unfreezing.clone()), ..stage };
                let embeddings = LossTerm::Embeddings {
                    weight: constant(1.0),
                    projection: Projection::Separate,
                    padding: Padding::Excluded,
                };
                vec![
                    stage("representation", vec![hidden(), embeddings]),
                    step_by_step(stage("answers", vec![soft_targets(1.0, 1.0)])),
                    step_by_step(prediction(vec![soft_targets(1.0, 1.0), labels(1.0)])),
                ]
            }
            Method::LayersFirst => {
                vec![stage("layers", scores_and_states()), prediction(vec![soft_targets(5.0, 2.0), labels(2.0)])]
            }
            Method::DistilbertQa => vec![stage("distill", vec![soft_targets(0.5, 2.0), labels(0.5)])],
            Method::Pkd => vec![stage(
                "distill",
                vec![soft_targets(0.5, 10.0), labels(0.5), LossTerm::Patience { weight: constant(10.0) }],
            )],
            Method::Mobilebert => vec![
                stage(
                    "transfer",
                    vec![
                        hidden(),
                        LossTerm::AttentionDistributions { weight: constant(1.0), layers: Attending::Mapped },
                    ],
                ),
                prediction(vec![soft_targets(5.0, 2.0), labels(2.0)]),
            ],
            Method::Ternarybert => {
                let mut stages = Method::Tinybert.stages(train);
                let all = stages.iter().flat_map(|stage| stage.losses.clone()).collect();
                stages.push(StageRecipe { quantize: Some(FakeQuantization::Ternary), ..stage("ternary", all) });
                stages
            }
            Method::WellRead => {
                vec![stage("answers", vec![soft_targets(1.0, 1.0)]), stage("finetune", vec![labels(1.0)])]
            }
            Method::Textbrewer => vec![stage(
                "distill",
                vec![soft_targets(1.0, 8.0), hidden(), LossTerm::StateSimilarities { weight: constant(1.0) }],
            )],
            Method::Theseus => vec![
                StageRecipe {
                    replacing: Some(Scheduled::Linear(Line { from: 0.3, to: 1.0 })),
                    ..stage("replace", vec![labels(1.0)])
                },
                stage("finetune", vec![labels(1.0)]),
            ],
            Method::AlbertShared => {
                vec![stage("depths", scores_and_states()), stage("distill", vec![soft_targets(5.0, 2.0), labels(2.0)])]
            }
        }
    }
}
