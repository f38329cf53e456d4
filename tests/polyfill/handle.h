/* struct file_handle with room. */
struct handle {
	unsigned size;
	int type;
	unsigned char room[256];
};
