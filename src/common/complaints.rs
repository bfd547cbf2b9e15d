//! Collects complaints, so that the user sees all of them at once.

use crate::{Complaint, Error, Result};

/// The complaints so far.
#[derive(Debug, Default)]
pub struct Complaints(Vec<Complaint>);

impl Complaints {
    /// Adds a complaint unless it is a duplicate: several stages may reject the same setting.
    pub fn push(&mut self, complaint: Complaint) {
        if !self.0.contains(&complaint) {
            self.0.push(complaint);
        }
    }

    /// The value, or none after collecting the complaints of an [`Error::Config`].
    ///
    /// # Errors
    /// Any other error.
    pub fn keep<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Config(complaints)) => {
                self.extend(complaints);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Fails with the collected complaints.
    ///
    /// # Errors
    /// [`Error::Config`] if there are complaints.
    pub fn into_result(self) -> Result<()> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(self.into()),
        }
    }
}

impl From<Complaints> for Error {
    fn from(complaints: Complaints) -> Error {
        Error::Config(complaints.0)
    }
}

impl Extend<Complaint> for Complaints {
    fn extend<I: IntoIterator<Item = Complaint>>(&mut self, complaints: I) {
        complaints
            .into_iter()
            .for_each(|complaint| self.push(complaint));
    }
}

impl FromIterator<Complaint> for Complaints {
    fn from_iter<I: IntoIterator<Item = Complaint>>(complaints: I) -> Complaints {
        let mut all = Complaints::default();
        all.extend(complaints);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_collected_and_other_errors_returned() {
        let mut complaints = Complaints::default();
        assert_eq!(complaints.keep(Ok(3)).unwrap(), Some(3));
        let usage = || Error::usage("wrong");
        assert_eq!(complaints.keep::<()>(Err(usage())).unwrap(), None);
        complaints.keep::<()>(Err(usage())).unwrap();
        complaints.push(Complaint::new("also wrong"));
        assert!(complaints.keep::<()>(Err(Error::Interrupted)).is_err());
        let error = complaints.into_result().unwrap_err();
        assert_eq!(error.to_string(), "wrong\nalso wrong");
        assert!(Complaints::default().into_result().is_ok());
    }
}
