"""The edges: an adapter turns one outside format into a Complaint, or a Ticket into its format."""
