//! What the user can set: one table, which all front ends list and change. Values are kept in the store.

use crate::log::exchange::READ_MARKS;
use crate::store::{DISK, Store, StoreError};

/// Shown online to contacts of whom nothing else was said.
pub(super) const PRESENCE: &Setting = &Setting {
    name: "presence",
    key: "presence",
    values: &["on", "off"],
    help: "contacts see that you are online, unless /presence says otherwise for one",
};
/// Found by people who are no contacts and share no room.
pub(super) const STRANGERS: &Setting = &Setting {
    name: "strangers",
    key: "strangers",
    values: &["on", "off"],
    help: "people who have your key but whom you do not know find you",
};
/// Rings the bell of the terminal.
pub const BELL: &Setting = &Setting {
    name: "bell",
    key: "bell",
    values: &["on", "off"],
    help: "the terminal's bell when somebody writes to you or names you",
};
/// Shows a notice on the desktop.
pub const NOTICE: &Setting = &Setting {
    name: "notice",
    key: "notice",
    values: &["on", "off"],
    help: "a notice on the desktop then, where the terminal can show one",
};
const ROOM_ON_DISK: &Setting = &Setting {
    name: "disk",
    key: DISK,
    values: &["16", "1", "2", "4", "8", "32", "64", "256", "1024"],
    help: "GiB that the database may take; beyond, nothing of others is taken",
};
const READ: &Setting = &Setting {
    name: "read-marks",
    key: READ_MARKS,
    values: &["on", "off"],
    help: "others learn what you have read",
};

/// Lets others know when the user types.
pub(super) const TYPING: &Setting = &Setting {
    name: "typing",
    key: "typing",
    values: &["on", "off"],
    help: "others see when you are typing",
};

/// All settings, in the order in which they are listed.
pub const SETTINGS: [&Setting; 7] = [READ, TYPING, PRESENCE, STRANGERS, BELL, NOTICE, ROOM_ON_DISK];

/// Something that the user can set.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// What it is called.
    pub name: &'static str,
    /// What the store calls it.
    key: &'static str,
    /// What it may be set to; the first holds until the user says otherwise.
    pub values: &'static [&'static str],
    /// What the first value means.
    pub help: &'static str,
}

/// Why something cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// There is no such setting.
    #[error("there is no setting {0:?}; there are {names}", names = names())]
    Unknown(String),
    /// It cannot have this value.
    #[error("{name} can be {values}, not {1:?}", name = .0.name, values = .0.values.join(" or "))]
    Value(&'static Setting, String),
}

fn names() -> String {
    SETTINGS.map(|setting| setting.name).join(", ")
}

impl Setting {
    /// The setting that is called `name`, in any case of letters.
    ///
    /// # Errors
    /// [`SettingError::Unknown`].
    pub fn find(name: &str) -> Result<&'static Self, SettingError> {
        let found = SETTINGS.into_iter().find(|setting| setting.name.eq_ignore_ascii_case(name.trim()));
        found.ok_or_else(|| SettingError::Unknown(common::text::one_line(name, common::text::MAX_NAME)))
    }

    /// The value that `text` means.
    ///
    /// # Errors
    /// [`SettingError::Value`].
    pub fn value(&'static self, text: &str) -> Result<&'static str, SettingError> {
        let found = self.values.iter().find(|value| value.eq_ignore_ascii_case(text.trim()));
        let unknown = || SettingError::Value(self, common::text::one_line(text, common::text::MAX_NAME));
        found.copied().ok_or_else(unknown)
    }

    /// What it is set to.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn of(&'static self, store: &Store) -> Result<&'static str, StoreError> {
        let set = store.setting(self.key).await?;
        // What another version may have written counts as not set.
        Ok(set.and_then(|set| self.value(&set).ok()).unwrap_or(self.values[0]))
    }

    /// Sets it to one of its values.
    pub(super) async fn set(&self, store: &Store, value: &str) -> Result<(), StoreError> {
        store.set_setting(self.key, value).await
    }

    /// Whether it is set to its first value.
    pub(super) async fn is_on(&'static self, store: &Store) -> Result<bool, StoreError> {
        Ok(self.of(store).await? == self.values[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DEFAULT_DISK;

    #[test]
    fn the_default_of_the_disk_is_that_of_the_store() {
        assert_eq!(ROOM_ON_DISK.values[0], DEFAULT_DISK.to_string());
    }

    #[test]
    fn names_and_values_are_known_in_any_case_and_others_are_explained() {
        assert_eq!(Setting::find("Read-Marks"), Ok(READ));
        assert_eq!(READ.value(" OFF "), Ok("off"));
        let error = Setting::find("colour\u{1b}[2J").unwrap_err().to_string();
        assert!(error.contains("there are read-marks, typing") && !error.contains('\u{1b}'), "{error}");
        assert_eq!(BELL.value("loud").unwrap_err().to_string(), "bell can be on or off, not \"loud\"");
    }
}
