//! Which platforms an export carries: `linux/amd64`, `linux/arm/v7`.

/// The platforms that are wanted; none: all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlatformFilter(Vec<String>);

impl PlatformFilter {
    /// Reads each of them; otherwise says which cannot be one.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
        for text in texts {
            let words: Vec<&str> = text.split('/').collect();
            if !(2..=3).contains(&words.len()) || !words.iter().all(|word| is_word(word)) {
                return Err(format!("{text:?} is no platform; expected linux/amd64 or linux/arm/v7"));
            }
        }
        Ok(Self(texts.to_vec()))
    }

    /// Whether an index's image of this platform is carried: one whose index does not say is. `linux/arm64` means every
    /// variant of it.
    pub fn wants(&self, platform: Option<&str>) -> bool {
        let Some(platform) = platform else { return true };
        self.0.is_empty() || self.0.iter().any(|wanted| covers(wanted, platform))
    }

    /// Wanted platforms that none of these is.
    pub fn lacking(&self, platforms: &[&str]) -> Vec<&str> {
        let is_lacking = |wanted: &&String| !platforms.iter().any(|platform| covers(wanted, platform));
        self.0.iter().filter(is_lacking).map(String::as_str).collect()
    }

    /// Whether all of them are wanted.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }
}

fn covers(wanted: &str, platform: &str) -> bool {
    platform.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(texts: &[&str]) -> Result<PlatformFilter, String> {
        PlatformFilter::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_platform_without_a_variant_means_all_of_them() {
        for (wanted, platform, expected) in [
            (&[][..], Some("linux/s390x"), true),
            (&["linux/amd64"], Some("linux/amd64"), true),
            (&["linux/amd64"], Some("linux/arm64"), false),
            (&["linux/arm64"], Some("linux/arm64/v8"), true),
            (&["linux/arm/v7"], Some("linux/arm/v7"), true),
            (&["linux/arm/v7"], Some("linux/arm/v6"), false),
            (&["linux/arm"], Some("linux/arm64"), false),
            (&["linux/amd64", "linux/arm64"], Some("linux/arm64/v8"), true),
            (&["linux/amd64"], Some("unknown/unknown"), false),
            (&["linux/amd64"], None, true),
        ] {
            assert_eq!(filter(wanted).unwrap().wants(platform), expected, "{wanted:?} {platform:?}");
        }
    }

    #[test]
    fn what_an_image_lacks_is_told() {
        let wanted = filter(&["linux/amd64", "linux/riscv64"]).unwrap();
        assert_eq!(wanted.lacking(&["linux/amd64", "linux/arm64/v8"]), ["linux/riscv64"]);
        assert_eq!(filter(&[]).unwrap().lacking(&[]), [""; 0]);
    }

    #[test]
    fn what_is_no_platform_is_told() {
        for text in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a md64"] {
            assert!(filter(&[text]).is_err(), "{text:?}");
        }
    }
}
