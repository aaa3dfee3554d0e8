//! Calendars and address cards: each event and each person as lines.

use calcard::common::PartialDateTime;
use calcard::icalendar::{
    ICalendar, ICalendarComponent, ICalendarComponentType, ICalendarEntry, ICalendarParameterName, ICalendarProperty,
    ICalendarValue,
};
use calcard::vcard::{VCard, VCardEntry, VCardProperty, VCardValue};
use calcard::{Entry, Parser};

use super::{Content, TEXT_BYTES, properties, unparsable};
use crate::connectors::RecordError;

/// Events and persons of one file.
const MOST_ENTRIES: usize = 100_000;

/// What is in the file, calendars or cards.
pub(super) fn content(media_type: &'static str, text: &str) -> Result<Content, RecordError> {
    let mut parser = Parser::new(text);
    let mut found = Found::default();
    let mut is_any = false;
    for _ in 0..MOST_ENTRIES {
        match parser.entry() {
            Entry::ICalendar(calendar) => found.calendar(calendar),
            Entry::VCard(card) => found.card(&card),
            Entry::Eof => break,
            // What is wrong in one place does not take the rest with it.
            _ => continue,
        }
        is_any = true;
        if found.body.len() > TEXT_BYTES {
            break;
        }
    }
    if !is_any {
        return Err(unparsable());
    }
    // One event or person is what the file is about.
    let single = if found.count == 1 { found.first } else { None };
    let mut content = Content::text(media_type, found.name.or(single), found.body);
    if found.count == 1 {
        (content.created_at, content.updated_at) = (found.created_at, found.updated_at);
    }
    Ok(content)
}

#[derive(Default)]
struct Found {
    body: String,
    /// Name of the calendar.
    name: Option<String>,
    count: usize,
    /// What the first event or person is called.
    first: Option<String>,
    created_at: Option<i64>,
    updated_at: Option<i64>,
}

impl Found {
    fn calendar(&mut self, calendar: ICalendar) {
        for component in calendar.components {
            match component.component_type {
                ICalendarComponentType::VCalendar => {
                    for entry in &component.entries {
                        let is_name = match &entry.name {
                            ICalendarProperty::Name => true,
                            ICalendarProperty::Other(name) => name.eq_ignore_ascii_case("X-WR-CALNAME"),
                            _ => false,
                        };
                        if is_name && self.name.is_none() {
                            self.name = Some(value(entry)).filter(|name| !name.is_empty());
                        }
                    }
                }
                ICalendarComponentType::VEvent | ICalendarComponentType::VTodo | ICalendarComponentType::VJournal => {
                    self.event(&component);
                }
                _ => {}
            }
        }
    }

    fn event(&mut self, event: &ICalendarComponent) {
        self.count += 1;
        let time = |name| event.property(&name).and_then(|entry| properties::time(&value(entry)));
        self.created_at = time(ICalendarProperty::Created);
        self.updated_at = time(ICalendarProperty::LastModified);
        for (name, label) in [
            (ICalendarProperty::Summary, ""),
            (ICalendarProperty::Dtstart, "Start"),
            (ICalendarProperty::Dtend, "End"),
            (ICalendarProperty::Due, "Due"),
            (ICalendarProperty::Rrule, "Repeats"),
            (ICalendarProperty::Location, "Location"),
            (ICalendarProperty::Status, "Status"),
            (ICalendarProperty::Organizer, "Organizer"),
            (ICalendarProperty::Attendee, "Attendee"),
            (ICalendarProperty::Categories, "Categories"),
            (ICalendarProperty::Url, "Address"),
            (ICalendarProperty::Description, ""),
            (ICalendarProperty::Comment, ""),
        ] {
            let is_summary = name == ICalendarProperty::Summary;
            for entry in event.properties(&name) {
                let text = value(entry);
                if is_summary && self.first.is_none() {
                    self.first = Some(text.clone()).filter(|text| !text.is_empty());
                }
                self.line(label, &text);
            }
        }
        self.body.push('\n');
    }

    fn card(&mut self, card: &VCard) {
        self.count += 1;
        for (name, label) in [
            (VCardProperty::Fn, ""),
            (VCardProperty::N, "Name"),
            (VCardProperty::Nickname, "Nickname"),
            (VCardProperty::Org, "Organization"),
            (VCardProperty::Title, "Title"),
            (VCardProperty::Role, "Role"),
            (VCardProperty::Email, "E-mail"),
            (VCardProperty::Tel, "Telephone"),
            (VCardProperty::Impp, "Messages"),
            (VCardProperty::Adr, "Address"),
            (VCardProperty::Url, "Website"),
            (VCardProperty::Bday, "Birthday"),
            (VCardProperty::Categories, "Categories"),
            (VCardProperty::Note, ""),
        ] {
            let is_name = name == VCardProperty::Fn;
            for entry in card.properties(&name) {
                let text = card_value(entry);
                if is_name && self.first.is_none() {
                    self.first = Some(text.clone()).filter(|text| !text.is_empty());
                }
                self.line(label, &text);
            }
        }
        self.body.push('\n');
    }

    fn line(&mut self, label: &str, text: &str) {
        let text = text.trim();
        if text.is_empty() || self.body.len() > TEXT_BYTES {
            return;
        }
        if !label.is_empty() {
            self.body.push_str(label);
            self.body.push_str(": ");
        }
        self.body.push_str(text);
        self.body.push('\n');
    }
}

/// The values of a property; a person's name before the address.
fn value(entry: &ICalendarEntry) -> String {
    let name = entry.parameter(&ICalendarParameterName::Cn).and_then(|name| name.as_text());
    let values = entry.values.iter().filter_map(|value| match value {
        ICalendarValue::PartialDateTime(time) => Some(moment(time)),
        value => value.clone().into_text().map(|text| text.into_owned()),
    });
    let values = values.map(|value| value.trim_start_matches("mailto:").trim_start_matches("MAILTO:").to_owned());
    let values = values.collect::<Vec<_>>().join(", ");
    match name {
        Some(name) if name != values => format!("{name} <{values}>"),
        _ => values,
    }
}

fn card_value(entry: &VCardEntry) -> String {
    let values = entry.values.iter().filter_map(|value| match value {
        // Pictures and sounds are no text.
        VCardValue::Binary(_) => None,
        VCardValue::Component(parts) => {
            let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
            Some(parts.collect::<Vec<_>>().join(", "))
        }
        VCardValue::PartialDateTime(time) => Some(moment(time)),
        value => value.as_text().map(|text| text.trim_start_matches("tel:").to_owned()),
    });
    values.filter(|value| !value.is_empty()).collect::<Vec<_>>().join(", ")
}

/// What is known of a time: of a birthday it may be the day without the year.
fn moment(time: &PartialDateTime) -> String {
    let two = |number: Option<u8>| number.map(|number| format!("{number:02}"));
    let joined = |parts: [Option<String>; 3], sign| parts.into_iter().flatten().collect::<Vec<_>>().join(sign);
    let date = joined([time.year.map(|year| format!("{year:04}")), two(time.month), two(time.day)], "-");
    if time.hour.is_none() {
        return date;
    }
    let clock = joined([two(time.hour), two(time.minute), two(time.second)], ":");
    let zone = match (time.tz_hour, time.tz_minute.unwrap_or_default()) {
        (None, _) => String::new(),
        (Some(0), 0) => "Z".to_owned(),
        (Some(hours), minutes) => format!("{}{hours:02}:{minutes:02}", if time.tz_minus { "-" } else { "+" }),
    };
    format!("{date}T{clock}{zone}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_gives_its_lines_and_title() {
        let calendar = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART:20240301T100000Z\r\n\
                        CREATED:20240201T100000Z\r\nSUMMARY:Tent\\, repair\r\nLOCATION:Workshop\r\n\
                        ATTENDEE;CN=Ada:mailto:ada@example.org\r\nDESCRIPTION:Bring the\r\n  poles\r\n\
                        END:VEVENT\r\nEND:VCALENDAR\r\n";
        let taken = content("text/calendar", calendar).unwrap();
        assert_eq!(taken.title.as_deref(), Some("Tent, repair"));
        assert_eq!(
            taken.body,
            "Tent, repair\nStart: 2024-03-01T10:00:00Z\nLocation: Workshop\nAttendee: Ada <ada@example.org>\nBring the poles\n\n"
        );
        assert_eq!(taken.created_at, Some(1_706_781_600_000_000));
        assert_eq!(content("text/calendar", "nothing").unwrap_err().code, "unparsable");
    }

    #[test]
    fn a_card_gives_its_lines_and_title() {
        let card = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada Lovelace\r\nORG:Tents;Repairs\r\nEMAIL:ada@example.org\r\n\
                    BDAY:1815-12-10\r\nPHOTO;ENCODING=b:AAAA\r\nEND:VCARD\r\n";
        let taken = content("text/vcard", card).unwrap();
        assert_eq!(taken.title.as_deref(), Some("Ada Lovelace"));
        assert!(taken.body.contains("Organization: Tents, Repairs\nE-mail: ada@example.org\n"), "{}", taken.body);
        assert!(taken.body.contains("Birthday: 1815-12-10"), "{}", taken.body);
    }
}
