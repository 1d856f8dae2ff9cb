//! What the server is told at its start.

use std::net::IpAddr;

/// The API server's settings; see upstream's flags of the same names.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients reach the server: the `kubernetes` Service points here.
    pub advertise_address: IpAddr,
    pub secure_port: u16,
    /// Base address and prefix length, for instance 10.96.0.0/16.
    pub service_cluster_ip_range: Cidr,
    /// First and last port that NodePorts are taken from.
    pub service_node_port_range: (u16, u16),
    /// Issuer of service-account tokens.
    pub service_account_issuer: String,
    /// Admission plugins that are on by default and are not wanted here.
    pub disabled_admission_plugins: Vec<String>,
}

/// An address range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    pub base: IpAddr,
    pub prefix: u8,
}

/// What `--service-cluster-ip-range` or another range was given that is none.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a range such as 10.96.0.0/16")]
pub struct NoCidr(String);

impl std::str::FromStr for Cidr {
    type Err = NoCidr;

    fn from_str(text: &str) -> Result<Cidr, NoCidr> {
        let bad = || NoCidr(text.to_owned());
        let (base, prefix) = text.split_once('/').ok_or_else(bad)?;
        let base: IpAddr = base.parse().map_err(|_| bad())?;
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        let bits = if base.is_ipv4() { 32 } else { 128 };
        match prefix <= bits {
            true => Ok(Cidr { base, prefix }.masked()),
            false => Err(bad()),
        }
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

// === impl Cidr ===

impl Cidr {
    fn masked(self) -> Cidr {
        let base = match self.base {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::from((u32::from(ip) & mask).to_be_bytes())
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::from((u128::from(ip) & mask).to_be_bytes())
            }
        };
        Cidr { base, ..self }
    }

    /// The address this far from the base, if it is still inside.
    pub fn nth(self, offset: u128) -> Option<IpAddr> {
        if offset >= self.size() {
            return None;
        }
        Some(match self.base {
            IpAddr::V4(ip) => IpAddr::from((u32::from(ip) + offset as u32).to_be_bytes()),
            IpAddr::V6(ip) => IpAddr::from((u128::from(ip) + offset).to_be_bytes()),
        })
    }

    /// Addresses in the range, base and last one included.
    pub fn size(self) -> u128 {
        let bits = if self.base.is_ipv4() { 32 } else { 128 };
        1u128.checked_shl(bits - u32::from(self.prefix)).unwrap_or(u128::MAX)
    }

    pub fn contains(self, ip: IpAddr) -> bool {
        match (self.base, ip) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                Cidr { base: ip, prefix: self.prefix }.masked().base == self.base
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let range: Cidr = "10.96.1.2/16".parse().unwrap();
        assert_eq!(range.to_string(), "10.96.0.0/16");
        assert_eq!(range.nth(10).unwrap().to_string(), "10.96.0.10");
        assert_eq!(range.nth(65_536), None);
        assert!(range.contains("10.96.255.255".parse().unwrap()) && !range.contains("10.97.0.0".parse().unwrap()));
        assert!("10.96.0.0/33".parse::<Cidr>().is_err() && "x".parse::<Cidr>().is_err());
    }
}
