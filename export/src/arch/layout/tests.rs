use super::super::{Sharing, preset};
use super::*;

fn config(name: &str) -> ModelConfig {
    preset(name).unwrap_or_else(|| panic!("{name}")).config
}

fn total(name: &str, head: Head) -> u64 {
    count_parameters(&config(name), head).total
}

fn without_pooler(config: &ModelConfig) -> u64 {
    let count = count_parameters(config, Head::None);
    count.total - count.pooler
}

fn bert(layers: usize, hidden_size: usize, intermediate_size: usize) -> ModelConfig {
    ModelConfig { layers, hidden_size, embedding_size: hidden_size, intermediate_size, ..config("bert-base-uncased") }
}

const ONE_TO_THREE: [usize; 3] = [1, 2, 3];

/// The encoder with its pooler and the one without, of every published shape.
#[test]
fn encoders_count_what_the_papers_count() {
    for (name, encoder, bare) in [
        ("bert-base-uncased", 109_482_240, 108_891_648),
        ("bert-base-cased", 108_310_272, 107_719_680),
        ("bert-large-uncased", 335_141_888, 334_092_288),
        ("distilbert-base-uncased", 66_362_880, 66_362_880),
        ("tinybert4", 14_350_248, 14_252_592),
        ("tinybert6", 66_955_008, 66_364_416),
        ("all-minilm-l6-v2", 22_713_216, 22_565_376),
        ("all-mpnet-base-v2", 109_486_464, 108_895_872),
        ("roberta-base", 124_645_632, 124_055_040),
        ("distilroberta-base", 82_118_400, 81_527_808),
        ("albert-base", 11_683_584, 11_092_992),
        ("albert-large", 17_683_968, 16_634_368),
        ("albert-xlarge", 58_724_864, 54_528_512),
        ("albert-xxlarge", 222_595_584, 205_814_272),
        ("electra-small", 13_483_008, 13_483_008),
        ("electra-small-generator", 4_580_928, 4_580_928),
        ("electra-small-plus-plus-generator", 13_483_008, 13_483_008),
        ("electra-base", 108_891_648, 108_891_648),
        ("electra-base-generator", 33_511_168, 33_511_168),
        ("electra-large", 334_092_288, 334_092_288),
        ("electra-large-generator", 50_999_552, 50_999_552),
        ("gpt2", 124_439_808, 124_439_808),
        ("gpt2-medium", 354_823_168, 354_823_168),
        ("gpt2-large", 774_030_080, 774_030_080),
        ("gpt2-xl", 1_557_611_200, 1_557_611_200),
        ("distilgpt2", 81_912_576, 81_912_576),
        ("gpt3-small", 125_226_240, 125_226_240),
        ("gpt3-medium", 355_871_744, 355_871_744),
        ("gpt3-large", 760_300_032, 760_300_032),
        ("gpt3-xl", 1_315_723_264, 1_315_723_264),
        ("gpt3-2.7b", 2_651_553_280, 2_651_553_280),
        ("gpt3-6.7b", 6_658_404_352, 6_658_404_352),
        ("gpt3-13b", 12_952_938_780, 12_952_938_780),
        ("gpt3-175b", 174_604_259_328, 174_604_259_328),
    ] {
        let config = config(name);
        assert_eq!(count_parameters(&config, Head::None).encoder, encoder, "{name}");
        assert_eq!(without_pooler(&config), bare, "{name} without pooler");
    }
    let narrower =
        ModelConfig { hidden_size: 5120, embedding_size: 5120, intermediate_size: 20480, ..config("gpt3-13b") };
    assert_eq!(count_parameters(&narrower, Head::None).encoder, 12_853_386_240);
}

#[test]
fn shapes_without_a_preset_count_right_too() {
    for (config, encoder, bare) in [
        (bert(2, 128, 512), 4_385_920, None),
        (bert(4, 256, 1024), 11_170_560, None),
        (bert(4, 512, 2048), 28_763_648, None),
        (bert(8, 512, 2048), 41_373_184, None),
        (bert(6, 256, 1024), 12_750_080, Some(12_684_288)),
        (bert(12, 256, 1024), 17_488_640, None),
        (bert(2, 768, 3072), 38_603_520, None),
        (bert(12, 384, 1536), 33_360_000, Some(33_212_160)),
        (bert(3, 384, 1536), 17_389_824, Some(17_241_984)),
    ] {
        assert_eq!(count_parameters(&config, Head::None).encoder, encoder);
        assert!(bare.is_none_or(|bare| without_pooler(&config) == bare));
    }
    let roberta = |layers, hidden_size, intermediate_size| ModelConfig {
        layers,
        hidden_size,
        embedding_size: hidden_size,
        intermediate_size,
        ..config("roberta-base")
    };
    for (config, encoder, bare) in [
        (roberta(12, 384, 1536), 40_941_696, 40_793_856),
        (roberta(6, 384, 1536), 30_294_912, 30_147_072),
        (roberta(6, 768, 3072), 82_118_400, 81_527_808),
    ] {
        assert_eq!((count_parameters(&config, Head::None).encoder, without_pooler(&config)), (encoder, bare));
    }
    let distilbert = |vocab_size| ModelConfig { vocab_size, ..config("distilbert-base-uncased") };
    for (vocabulary, encoder) in [(28_996, 65_190_912), (119_547, 134_734_080)] {
        assert_eq!(count_parameters(&distilbert(vocabulary), Head::None).encoder, encoder);
    }
}

#[test]
fn heads_count_what_the_papers_count() {
    for (name, totals) in [
        ("bert-base-uncased", [109_483_009, 109_483_778, 109_484_547]),
        ("distilbert-base-uncased", [66_954_241, 66_955_010, 66_955_779]),
        ("tinybert4", [14_350_561, 14_350_874, 14_351_187]),
        ("tinybert6", [66_955_777, 66_956_546, 66_957_315]),
    ] {
        assert_eq!(ONE_TO_THREE.map(|labels| total(name, Head::Classification { labels })), totals, "{name}");
    }
    for (name, head, count) in [
        ("bert-base-uncased", Head::Pretraining, 110_106_428),
        ("bert-base-uncased", Head::MaskedLm, 109_514_298),
        ("distilbert-base-uncased", Head::MaskedLm, 66_985_530),
        ("distilbert-base-uncased", Head::Span, 66_364_418),
        ("albert-base", Head::Pretraining, 11_813_810),
        ("albert-base", Head::MaskedLm, 11_221_680),
        ("albert-large", Head::Pretraining, 17_847_474),
        ("albert-large", Head::MaskedLm, 16_795_824),
        ("albert-xlarge", Head::Pretraining, 59_021_490),
        ("albert-xlarge", Head::MaskedLm, 54_821_040),
        ("albert-xxlarge", Head::Pretraining, 223_158_450),
        ("albert-xxlarge", Head::MaskedLm, 206_368_944),
        ("electra-small", Head::ReplacedToken, 13_549_057),
        ("electra-small-generator", Head::MaskedLm, 4_620_026),
        ("electra-small-plus-plus-generator", Head::MaskedLm, 13_546_682),
        ("electra-base", Head::ReplacedToken, 109_483_009),
        ("electra-base-generator", Head::MaskedLm, 33_740_602),
        ("electra-large", Head::ReplacedToken, 335_142_913),
        ("electra-large-generator", Head::MaskedLm, 51_295_290),
        ("gpt2", Head::CausalLm, 124_439_808),
    ] {
        assert_eq!(total(name, head), count, "{name} {}", head.name());
    }
}

/// Totals that add another part: TinyBERT's map to the teacher's width, ELECTRA's two networks that share
/// their embeddings, GPT-2 without tables.
#[test]
fn sums_of_parts_are_the_published_ones() {
    let fit_dense = |hidden: u64| hidden * 768 + 768;
    let classifier = |name, labels| total(name, Head::Classification { labels });
    assert_eq!(
        ONE_TO_THREE.map(|labels| classifier("tinybert4", labels) + fit_dense(312)),
        [14_590_945, 14_591_258, 14_591_571]
    );
    assert_eq!(
        ONE_TO_THREE.map(|labels| classifier("tinybert6", labels) + fit_dense(768)),
        [67_546_369, 67_547_138, 67_547_907]
    );
    assert_eq!(total("tinybert4", Head::Pretraining) + fit_dense(312), 14_720_060);
    assert_eq!(total("tinybert6", Head::Pretraining) + fit_dense(768), 68_169_788);
    for (name, layers, embeddings) in [("tinybert4", 4_568_736, 9_683_856), ("tinybert6", 42_527_232, 23_837_184)] {
        let count = count_parameters(&config(name), Head::None);
        assert_eq!((count.layers, count.embeddings), (layers, embeddings), "{name}");
    }
    // The tables and their norm are shared; each network has its own projection.
    let tied = |name| {
        let specs = parameter_layout(&config(name), Head::None);
        let shared = specs.iter().filter(|s| s.name.starts_with("embeddings.") && !s.name.contains("projection"));
        shared.map(Spec::len).sum::<u64>()
    };
    for (name, generator, shared, joint) in [
        ("electra-small", "electra-small-generator", 3_972_864, 14_196_219),
        ("electra-small", "electra-small-plus-plus-generator", 3_972_864, 23_122_875),
        ("electra-base", "electra-base-generator", 23_837_184, 119_386_427),
        ("electra-large", "electra-large-generator", 31_782_912, 354_655_291),
    ] {
        assert_eq!((tied(name), tied(generator)), (shared, shared));
        assert_eq!(total(name, Head::ReplacedToken) + total(generator, Head::MaskedLm) - shared, joint, "{name}");
    }
    for (name, count) in [
        ("gpt2", 85_056_000),
        ("gpt2-medium", 302_311_424),
        ("gpt2-large", 708_390_400),
        ("gpt2-xl", 1_475_561_600),
        ("distilgpt2", 42_528_768),
    ] {
        assert_eq!(count_parameters(&config(name), Head::None).layers, count, "{name}");
    }
}

/// ALBERT, tables 3 and 4: with pooler, without, and with the two pretraining heads.
#[test]
fn alberts_sharing_table() {
    for (name, with, without, heads) in [
        ("albert-e768-all", 31_114_752, 30_524_160, 31_738_418),
        ("albert-e768-attention", 83_078_400, 82_487_808, 83_702_066),
        ("albert-e768-ffn", 57_117_696, 56_527_104, 57_741_362),
        ("albert-e768-none", 109_081_344, 108_490_752, 109_705_010),
        ("albert-e128-all", 11_683_584, 11_092_992, 11_813_810),
        ("albert-e128-attention", 63_647_232, 63_056_640, 63_777_458),
        ("albert-e128-ffn", 37_686_528, 37_095_936, 37_816_754),
        ("albert-e128-none", 89_650_176, 89_059_584, 89_780_402),
        ("albert-e64-all", 9_681_408, 9_090_816, 0),
        ("albert-e64-none", 87_648_000, 87_057_408, 0),
        ("albert-e256-all", 15_687_936, 15_097_344, 0),
        ("albert-e256-none", 93_654_528, 93_063_936, 0),
    ] {
        let config = config(name);
        assert_eq!(count_parameters(&config, Head::None).encoder, with, "{name}");
        assert_eq!(without_pooler(&config), without, "{name}");
        assert!(heads == 0 || total(name, Head::Pretraining) == heads, "{name}");
    }
    let base = config("albert-e768-none");
    let part = |prefix: &str| {
        parameter_layout(&base, Head::None).iter().filter(|s| s.name.starts_with(prefix)).map(Spec::len).sum::<u64>()
    };
    assert_eq!((part("encoder.attention.0."), part("encoder.ffn.0.")), (2_363_904, 4_723_968));
    // Groups multiply the shared pair.
    let groups = ModelConfig { sharing: Sharing::Groups { groups: 4, inner: 1 }, ..base };
    assert_eq!(count_parameters(&groups, Head::None).layers, 4 * (2_363_904 + 4_723_968));
}

#[test]
fn new_weights_of_gpt2_shrink_with_depth() {
    for (name, std) in
        [("gpt2", 0.004_082_48), ("gpt2-medium", 0.002_886_75), ("gpt2-large", 0.002_357_02), ("gpt2-xl", 0.002_041_24)]
    {
        for spec in parameter_layout(&config(name), Head::CausalLm) {
            let want = match spec.name.as_str() {
                "embeddings.positions.weight" => 0.01,
                n if n.ends_with(".output.weight") || n.ends_with(".down.weight") => std,
                _ => 0.02,
            };
            if let Init::Normal(own) = spec.init {
                assert!((own - want).abs() < 1e-8, "{name} {}: {own}", spec.name);
            }
        }
    }
}
