"""What can go wrong in the middle of training, and what is done: skip together, cut, start again, or end."""
