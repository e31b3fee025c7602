//! What was measured on, and with.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A machine, as far as it tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processor name.
    pub cpu: String,
    /// Logical processors this process may use.
    pub cores: usize,
    /// Operating system and architecture.
    pub os: String,
    /// Instruction sets that decide int8 speed, among those the processor has.
    pub features: Vec<String>,
}

/// Versions of what took part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Versions {
    /// limbeck.
    pub limbeck: String,
    /// ONNX Runtime, once it is loaded.
    pub onnxruntime: Option<String>,
    /// HF tokenizers.
    pub tokenizers: String,
    /// libtorch; reports of before have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torch: Option<String>,
}

/// This machine.
pub fn machine() -> Machine {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |key: &str| {
        info.lines().find(|l| l.starts_with(key)).and_then(|l| l.split_once(':')).map(|(_, v)| v.trim().to_owned())
    };
    let flags = field("flags").or_else(|| field("Features")).unwrap_or_default();
    let interesting = ["avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimddp", "i8mm"];
    Machine {
        cpu: field("model name").unwrap_or_else(|| "unknown processor".to_owned()),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        features: interesting
            .iter()
            .filter(|f| flags.split_whitespace().any(|flag| flag == **f))
            .map(|&f| f.to_owned())
            .collect(),
    }
}

/// Versions in this process.
pub fn versions() -> Versions {
    Versions {
        limbeck: env!("CARGO_PKG_VERSION").to_owned(),
        onnxruntime: limbeck::runtime::loaded().map(|info| info.version.clone()),
        tokenizers: crate::TOKENIZERS_VERSION.to_owned(),
        torch: option_env!("LIMBECK_TORCH_VERSION").map(str::to_owned),
    }
}

/// Today in UTC as `YYYY-MM-DD`.
pub fn today() -> String {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() / 86_400) as i64;
    let (year, month, day) = civil_date(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Proleptic Gregorian date of a day number since 1970-01-01 (Hinnant, "chrono-compatible low-level
/// date algorithms").
fn civil_date(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::civil_date;

    #[test]
    fn dates_are_right_around_leap_days() {
        for (days, date) in
            [(0, (1970, 1, 1)), (11_016, (2000, 2, 29)), (11_017, (2000, 3, 1)), (20_780, (2026, 11, 23))]
        {
            assert_eq!(civil_date(days), date);
        }
    }
}
